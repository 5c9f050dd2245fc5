#!/usr/bin/env bash
# Creates the release of this version with all files of packages/ and its notes, on the page of the repository:
#
#   scripts/release/publish.sh
#
# It needs the GitHub command line `gh` with a credential (GH_TOKEN), and the tag of the version.
. "$(dirname "$0")/lib.sh"
[ $# = 0 ] || usage
notes=docs/releases/$version.md
[ -s "$notes" ] || die "$notes is missing"
gh release create "v$version" --verify-tag --title "orders $version" --notes-file "$notes" "$packages"/*
