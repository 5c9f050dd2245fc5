#!/usr/bin/env bash
# Builds a program from a Go module:
#
#   scripts/build-go-tool.sh PACKAGE VERSION FILE [FLAG…]
#   scripts/build-go-tool.sh helm.sh/helm/v3/cmd/helm v3.22.0 target/tools/helm
#
# The flags are those of `go build`. `go install` refuses modules with replacements, so an empty module requires the
# package. Without Go the exit status is 3.
set -euo pipefail
package=$1 version=$2
file=$(realpath -m "$3")
shift 3
command -v go >/dev/null || { echo "error: Go is missing, so $package cannot be built" >&2; exit 3; }
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
mkdir -p "$(dirname "$file")"
cd "$folder"
printf 'module build\n\ngo 1.25\n' >go.mod
printf '//go:build tools\n\npackage build\n\nimport _ "%s"\n' "$package" >tools.go
{ go get "$package@$version" && go mod tidy && go build -o "$file" "$@" "$package"; } >build.log 2>&1 || {
  tail -5 build.log >&2
  exit 1
}
