#!/usr/bin/env bash
# Builds Jaeger (all in one process, without its user interface) from its Go module:
#
#   scripts/build-jaeger.sh VERSION FILE
#
# `go install` refuses modules with replacements, so an empty module requires the command.
set -euo pipefail
version=$1
file=$(realpath -m "$2")
package=github.com/jaegertracing/jaeger/cmd/all-in-one
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
mkdir -p "$(dirname "$file")"
cd "$folder"
printf 'module build\n\ngo 1.25\n' >go.mod
printf '//go:build tools\n\npackage build\n\nimport _ "%s"\n' "$package" >tools.go
{ go get "$package@$version" && go mod tidy && go build -o "$file" "$package"; } >build.log 2>&1 || {
  tail -5 build.log >&2
  exit 1
}
