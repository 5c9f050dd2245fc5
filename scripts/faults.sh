#!/usr/bin/env bash
# Runs the fault suite and prints its results as a Markdown table:
#
#   scripts/faults.sh            every fault
#   scripts/faults.sh FILTER…    those with FILTER in their names
#
# The table goes to stdout, everything else to stderr. The exit status is the tests'.
set -euo pipefail
cd "$(dirname "$0")/.."

ORDERS_FAULTS_TABLE=$(mktemp)
export ORDERS_FAULTS_TABLE
trap 'rm -f "$ORDERS_FAULTS_TABLE"' EXIT

tests=(cargo test -p orders --test faults -- --test-threads=2)
if cargo nextest --version >/dev/null 2>&1; then tests=(cargo nextest run -p orders --test faults --no-fail-fast); fi
status=0
scripts/services.sh run -- "${tests[@]}" "$@" >&2 || status=$?

echo "| fault | accepted | finished | lost | duplicated | extra attempts | recovered in s | refused | slowest s | watched |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
sort "$ORDERS_FAULTS_TABLE"
exit "$status"
