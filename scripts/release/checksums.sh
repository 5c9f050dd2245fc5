#!/usr/bin/env bash
# Writes packages/SHA256SUMS with the checksums of all published files:
#
#   scripts/release/checksums.sh [ADDRESS]
#
# It adds the installer, packages/install.sh, which downloads from ADDRESS: the folder of this release, such as
# https://example.com/orders/releases/download/v0.1.0.
. "$(dirname "$0")/lib.sh"
[ $# -le 1 ] || usage
case ${1:-} in -*) usage ;; *["'\\&|"]*) die "the address $1 contains a character that it cannot contain" ;; esac

sed -e "s|^version=.*|version=$version|" -e "s|^address=.*|address=\${ORDERS_RELEASE:-${1:-}}|" scripts/release/install.sh >"$packages/install.sh"
cd "$packages"
files=()
for file in *; do
  case $file in SHA256SUMS*) ;; *) [ ! -f "$file" ] || files+=("$file") ;; esac
done
[ ${#files[@]} -gt 1 ] || die "$packages has no files to publish"
sha256sum "${files[@]}" >SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
# Signatures of other contents.
rm -f SHA256SUMS.sig SHA256SUMS.sigstore.json
step "$packages/SHA256SUMS with ${#files[@]} files"
