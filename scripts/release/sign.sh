#!/usr/bin/env bash
# Signs packages/SHA256SUMS, and thereby all published files:
#
#   scripts/release/sign.sh cosign         without a key, with the identity of the workflow: SHA256SUMS.sigstore.json
#   scripts/release/sign.sh ssh KEY        with the private key of a maintainer: SHA256SUMS.sig
#
# The first one needs cosign and a token of the workflow's identity; the second one needs OpenSSH 8.1 or newer.
. "$(dirname "$0")/lib.sh"
[ -s "$packages/SHA256SUMS" ] || die "$packages/SHA256SUMS is missing; write it with scripts/release/checksums.sh"
case ${1:-}:$# in
  cosign:1)
    cosign sign-blob --yes --bundle "$packages/SHA256SUMS.sigstore.json" "$packages/SHA256SUMS" >/dev/null
    ;;
  ssh:2)
    rm -f "$packages/SHA256SUMS.sig"
    ssh-keygen -Y sign -q -n orders-release -f "$2" "$packages/SHA256SUMS"
    ;;
  *) usage ;;
esac
step "$packages/SHA256SUMS is signed with $1"
