#!/usr/bin/env bash
# Checks that every crate compiles for macOS, so that `cargo run` works there:
#
#   scripts/release/check-macos.sh
#
# On a Mac, `cargo build` is the better check. Elsewhere zig compiles the C sources of dependencies; without Apple's frameworks
# nothing can be linked.
. "$(dirname "$0")/lib.sh"
[ $# = 0 ] || usage
target=aarch64-apple-darwin
if [ "$(uname -s)" = Darwin ]; then
  exec cargo build --locked
fi
install_zig
rustup target list --installed | grep -qx "$target" || rustup target add "$target"
step "check for $target"
exec cargo-zigbuild check --locked --target "$target" --workspace --lib --bins
