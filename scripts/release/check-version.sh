#!/usr/bin/env bash
# Checks that the version of Cargo.toml can be released:
#
#   scripts/release/check-version.sh [refs/tags/v0.1.0]
#
# The tag, if it is one, must be that of the version, and the changelog must have a section with its date. The test `release` of
# orders/tests/it compares the version with the chart, the manifests and the SDKs.
. "$(dirname "$0")/lib.sh"
[ $# -le 1 ] || usage
case ${1:-} in
  refs/tags/*) [ "$1" = "refs/tags/v$version" ] || die "the tag is ${1#refs/tags/}, and the version of Cargo.toml is $version" ;;
esac
grep -Eq "^## ${version//./\\.} \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$" CHANGELOG.md || die "CHANGELOG.md has no section '## $version (YYYY-MM-DD)'"
[ -s "docs/releases/$version.md" ] || die "docs/releases/$version.md is missing"
step "version $version"
