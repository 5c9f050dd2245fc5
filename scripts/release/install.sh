#!/bin/sh
# Installs the program `orders` for this user, on Linux (x86-64 and arm64):
#
#   sh install.sh                 into ~/.local/bin, or the folder ORDERS_BIN
#   sh install.sh --first-order   the same, and then completes a first order in a temporary folder
#
# It downloads the archive from the folder of the release (ORDERS_RELEASE), and compares it with SHA256SUMS. To verify the signature
# as well, download the files and read "Verify a download" in docs/start/install.md.
set -eu
version=
address=${ORDERS_RELEASE:-}

die() { echo "error: $*" >&2; exit 1; }
case $#:${1:-} in 0: | 1:--first-order) ;; *) die "unknown arguments: $*" ;; esac
[ -n "$version" ] || die "this is the source of the installer; the release contains it with its version"
[ -n "$address" ] || die "ORDERS_RELEASE is not set: the address of the folder with the files of the release"
case $(uname -s) in
  Linux) ;;
  Darwin) die "there is no program for macOS: build it with 'cargo run' (docs/start/install.md)" ;;
  *) die "there is no program for $(uname -s); on Windows, use WSL2" ;;
esac
case $(uname -m) in
  x86_64 | amd64) name=orders-$version-linux-amd64 ;;
  aarch64 | arm64) name=orders-$version-linux-arm64 ;;
  *) die "there is no program for $(uname -m): build it with 'cargo build --release'" ;;
esac

folder=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
download() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --output "$folder/$1" "$address/$1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document "$folder/$1" "$address/$1"
  else
    die "curl or wget is needed"
  fi || die "$address/$1 cannot be downloaded"
}
download SHA256SUMS
download "$name.tar.gz"
(cd "$folder" && grep "^[0-9a-f]\{64\}  $name\.tar\.gz\$" SHA256SUMS >expected && sha256sum -c expected >/dev/null 2>&1) ||
  die "$name.tar.gz differs from its checksum in SHA256SUMS; nothing was installed"
tar -xzf "$folder/$name.tar.gz" -C "$folder"
[ "$("$folder/$name/orders" --version)" = "orders $version" ] || die "$name.tar.gz is not version $version; nothing was installed"

bin=${ORDERS_BIN:-$HOME/.local/bin}
mkdir -p "$bin"
# Under another name first, so that a running program is replaced as a whole.
cp "$folder/$name/orders" "$bin/orders.new"
chmod 755 "$bin/orders.new"
mv -f "$bin/orders.new" "$bin/orders"
echo "orders $version is installed: $bin/orders"
case :$PATH: in *":$bin:"*) ;; *) echo "hint: $bin is not in PATH" ;; esac
if [ "${1:-}" != --first-order ]; then
  echo "start it with: orders dev"
  exit
fi

# They exist before the loop below reads them.
: >"$folder/banner"
: >"$folder/log"
"$bin/orders" dev --data-dir "$folder/data" --http-addr 127.0.0.1:0 --grpc-addr 127.0.0.1:0 >"$folder/banner" 2>"$folder/log" &
server=$!
url=
attempts=0
while [ -z "$url" ]; do
  url=$(sed -n 's|^  Page  *\(http://.*\)/$|\1|p' "$folder/banner")
  attempts=$((attempts + 1))
  if ! kill -0 "$server" 2>/dev/null || [ "$attempts" -gt 300 ]; then
    cat "$folder/log" >&2
    die "the program did not start"
  fi
  [ -n "$url" ] || sleep 0.1
done
order=$("$bin/orders" create --url "$url" --item Laptop --quantity 2 --price 1299.99 -o id)
"$bin/orders" watch --url "$url" "$order"
echo "The first order is completed. Start with a permanent data folder: orders dev --data-dir FOLDER"
