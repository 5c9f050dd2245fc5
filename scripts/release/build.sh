#!/usr/bin/env bash
# Builds the static programs of a release and tries each one:
#
#   scripts/release/build.sh                     all architectures
#   scripts/release/build.sh x86_64|aarch64…     some of them
#
# The result is packages/orders-VERSION-linux-amd64.tar.gz (or arm64). A program of the other architecture runs under
# qemu-user-static. scripts/release/lib.sh states the folders.
. "$(dirname "$0")/lib.sh"
case ${1:-} in -*) usage ;; esac
install_zig

compile() {
  local target=$1-unknown-linux-musl flags
  rustup target list --installed | grep -qx "$target" || rustup target add "$target"
  # No path of this machine is in the program, so that another folder gives the same program.
  flags=(
    "--remap-path-prefix=$PWD=/orders"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    "--remap-path-prefix=$target_folder=/target"
  )
  step "build of orders $version for $target"
  env CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f'; echo "${flags[*]}")" \
    "CFLAGS_${target//-/_}=-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo zigbuild --locked --profile dist --target "$target" --package orders --bin orders
}

pack() {
  local name folder
  name=$(published "$1")
  folder=$(mktemp -d)
  mkdir "$folder/$name"
  install -m 755 "$(binary "$1")" "$folder/$name/orders"
  install -m 644 LICENSE CHANGELOG.md "$folder/$name"
  scripts/release/notices.py >"$folder/$name/THIRD-PARTY.txt"
  # The same files give the same archive.
  tar --directory "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --format=gnu --create "$name" | gzip --no-name --best >"$packages/$name.tar.gz"
  rm -rf "$folder"
  step "$packages/$name.tar.gz"
}

for architecture in ${*:-$all_architectures}; do
  compile "$architecture"
  scripts/release/try.sh "$(binary "$architecture")" "$architecture"
  pack "$architecture"
done
