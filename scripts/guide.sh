#!/usr/bin/env bash
# Builds the guide: docs/ as a site, which the binary contains and serves at /guide.
#
#   scripts/guide.sh            writes web/guide
#   scripts/guide.sh --check    fails if web/guide is not what docs/ gives
#
# mdBook is a tool of this script and not of the build: web/guide is committed, so that `cargo build` needs Rust only.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.5.4
tools=${CARGO_TARGET_DIR:-target}/tools
mdbook=$tools/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
  echo "== cargo install mdbook"
  # Without optimisation the installation takes a third of the time.
  CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --root "$tools" --version "$version" --no-default-features --features search mdbook
  rm -rf "$tools/build"
fi

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$mdbook" build --dest-dir "$site" . 2>"$site.log" || { cat "$site.log" >&2; rm -f "$site.log"; exit 1; }
if grep -E 'WARN|ERROR' "$site.log"; then rm -f "$site.log"; exit 1; fi
rm -f "$site.log" "$site/.nojekyll" "$site"/favicon.*

if [ "${1:-}" = --check ]; then
  diff --recursive --brief "$site" web/guide ||
    { echo "error: web/guide is stale; write it with scripts/guide.sh" >&2; exit 1; }
else
  rm -rf web/guide
  cp -R "$site" web/guide
  chmod -R u=rwX,go=rX web/guide
fi
