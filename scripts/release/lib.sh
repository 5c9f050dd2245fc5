# Definitions of all steps of a release; they source this file. It changes to the root of the repository and sets:
#
#   version             the version in Cargo.toml
#   packages            the folder of the published files: ORDERS_PACKAGES, or target/packages
#   SOURCE_DATE_EPOCH   the time of the latest commit, for files that contain a time
# shellcheck shell=bash

set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() { echo "error: $*" >&2; exit 1; }
step() { printf '== %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
# Prints the comment at the head of the script that was called, without its first line.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$script" >&2; exit 2; }

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
[ -n "$version" ] || die "Cargo.toml has no version"
target_folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")
packages=$(realpath -m "${ORDERS_PACKAGES:-$target_folder/packages}")
tools=$target_folder/tools
mkdir -p "$packages"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory="$PWD" log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# The architectures by their names in Rust, Debian and containers.
all_architectures="x86_64 aarch64"
debian_architecture() { case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) die "unknown architecture $1" ;; esac; }
# Prints the path of the built program of an architecture.
binary() { echo "$target_folder/$1-unknown-linux-musl/dist/orders"; }
# Prints the name of its published files without their ending.
published() { echo "orders-$version-linux-$(debian_architecture "$1")"; }

# Sets `runner` to the command that runs programs of this architecture: empty on the same one, otherwise the emulator.
select_runner() {
  runner=()
  [ "$1" = "$(uname -m)" ] || runner=("qemu-$1-static")
  [ ${#runner[@]} = 0 ] || have "${runner[0]}" || die "${runner[0]} not found (Debian: apt-get install qemu-user-static)"
}

# Installs the cross-compiler: zig, which contains a C compiler and musl for every target, and cargo-zigbuild.
install_zig() {
  local venv=$tools/zig
  if ! cmp -s scripts/release/requirements.txt "$venv/installed"; then
    step "pip install of zig and cargo-zigbuild"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement scripts/release/requirements.txt
    cp scripts/release/requirements.txt "$venv/installed"
  fi
  # cargo-zigbuild finds zig as a module of this Python.
  export PATH="$venv/bin:$PATH" CARGO_ZIGBUILD_ZIG_PATH="$venv/bin/python-zig"
}
