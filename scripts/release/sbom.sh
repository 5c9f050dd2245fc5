#!/usr/bin/env bash
# Writes the bill of materials of the program, packages/orders-VERSION.cdx.json (CycloneDX 1.5), and checks it:
#
#   scripts/release/sbom.sh
#
# It lists the crates of Cargo.lock that the program and its build use, with their versions, licences and hashes.
. "$(dirname "$0")/lib.sh"
[ $# = 0 ] || usage

cyclonedx_version=0.5.9
if [ "$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null)" != "cargo-cyclonedx-cyclonedx $cyclonedx_version" ]; then
  step "cargo install cargo-cyclonedx"
  # Without optimisation the installation takes a third of the time.
  CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --root "$tools" --version "$cyclonedx_version" cargo-cyclonedx
  rm -rf "$tools/build"
fi

if ! cmp -s scripts/release/sbom-requirements.txt "$tools/sbom/installed"; then
  step "pip install of the schemas of CycloneDX"
  python3 -m venv --clear "$tools/sbom"
  "$tools/sbom/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/release/sbom-requirements.txt
  cp scripts/release/sbom-requirements.txt "$tools/sbom/installed"
fi

# It writes a file beside each Cargo.toml, so it gets a copy of the repository.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | tar --null --files-from - --create | tar --directory "$copy" --extract
(cd "$copy" && "$tools/bin/cargo-cyclonedx" cyclonedx --quiet --manifest-path orders/Cargo.toml --format json --spec-version 1.5 \
  --target x86_64-unknown-linux-musl --override-filename sbom)
file=$packages/orders-$version.cdx.json
"$tools/sbom/bin/python" scripts/release/sbom.py "$copy" "$version" <"$copy/orders/sbom.json" >"$copy/complete.json"
mv "$copy/complete.json" "$file"
step "$file"
