#!/usr/bin/env bash
# Verifies a folder with downloaded files of a release:
#
#   scripts/release/verify.sh FOLDER [--signers FILE | --identity URL]
#
# --signers    the allowed signers of OpenSSH, for SHA256SUMS.sig: lines with `release KEY`
# --identity   the repository whose workflow signed, for SHA256SUMS.sigstore.json: https://host/owner/name
#
# SHA256SUMS must list each file of the folder, and each present file must have its checksum. Without --signers and --identity,
# the origin of SHA256SUMS is not verified, and the script says so.
set -euo pipefail
die() { echo "error: $*" >&2; exit 1; }
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

[ $# -ge 1 ] && [ -d "$1" ] || usage
case $#:${2:-} in 1:) ;; 3:--signers) signers=$(realpath "$3") ;; 3:--identity) ;; *) usage ;; esac
cd "$1"
[ -s SHA256SUMS ] || die "SHA256SUMS is missing"

# First the signature: a checksum of an unknown origin proves nothing.
case ${2:-} in
  --signers)
    [ -s SHA256SUMS.sig ] || die "SHA256SUMS.sig is missing"
    ssh-keygen -Y verify -n orders-release -I release -f "$signers" -s SHA256SUMS.sig <SHA256SUMS ||
      die "SHA256SUMS was not signed by one of $signers"
    ;;
  --identity)
    [ -s SHA256SUMS.sigstore.json ] || die "SHA256SUMS.sigstore.json is missing"
    cosign verify-blob --bundle SHA256SUMS.sigstore.json \
      --certificate-identity-regexp "^$(sed 's/[.[\*^$+?(){|]/\\&/g' <<<"$3")/\\.github/workflows/release\\.yml@refs/tags/v[0-9.]+$" \
      --certificate-oidc-issuer https://token.actions.githubusercontent.com SHA256SUMS ||
      die "SHA256SUMS was not signed by the release workflow of $3"
    ;;
  *) echo "warning: the origin of SHA256SUMS is not verified; see --signers and --identity" >&2 ;;
esac

count=0
for file in *; do
  case $file in SHA256SUMS | SHA256SUMS.sig | SHA256SUMS.sigstore.json) continue ;; esac
  # The name is compared as a string: it can contain characters of a pattern.
  line=$(awk -v name="$file" 'substr($0, 67) == name' SHA256SUMS)
  [ -n "$line" ] || die "$file is not listed in SHA256SUMS"
  sha256sum --check --quiet --strict <<<"$line" || die "$file differs from its checksum"
  count=$((count + 1))
done
[ "$count" -gt 0 ] || die "the folder contains no file of a release"
echo "$count files have their checksums"
