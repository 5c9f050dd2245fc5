#!/usr/bin/env bash
# Measures everything in about 50 minutes, and writes the tables into BENCHMARKS.md:
#
#   bench/run.sh                    all sections
#   bench/run.sh compare limits     some of them
#   bench/run.sh --print push       only print
#
# Each section is one call of `bench`. The call is printed above its tables, and both replace the lines between
# `<!-- begin NAME -->` and `<!-- end NAME -->`. BENCH is the path of a program; without it the script builds one.

set -euo pipefail
cd "$(dirname "$0")/.."

# Section → arguments of `bench`. Flags are given only where they differ from the defaults of a scenario.
declare -A sections=(
  [compare]="compare"
  [everyday]="everyday --delay 1ms"
  [limits]="limits"
  [accept]="accept"
  [embedded]="pipeline --system embedded"
  [defaults]="pipeline --concurrency 0 --max-queue-depth 0"
  [push]="push"
  [backlog]="backlog"
  [listing]="listing --sizes 1000,10000000"
  [subscriptions]="subscriptions"
  [fan-out]="fan-out"
  [mixed]="mixed"
  [scale]="scale"
  [vitess]="compare --systems mysql,vitess --connections 64,256,1024"
  [overload]="overload --overload-duration 30s"
)
order=(compare everyday limits accept embedded defaults push backlog listing subscriptions fan-out mixed scale overload)
# `vitess` runs only if it is named, after eval "$(scripts/vitess.sh start)".

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; echo "sections: ${order[*]}"; exit 2; }

print=
wanted=()
for argument in "$@"; do
  case $argument in
    --print) print=1 ;;
    *) [ -n "${sections[$argument]:-}" ] || usage; wanted+=("$argument") ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${order[@]}")

if [ -z "${BENCH:-}" ]; then
  cargo build --release -p orders -p bench
  BENCH=${CARGO_TARGET_DIR:-target}/release/bench
fi
case " ${wanted[*]} " in
  *" everyday "*)
    [ -d bench/peers/restate/node_modules ] || npm ci --ignore-scripts --prefix bench/peers/restate
    ;;&
  *" compare "* | *" everyday "* | *" backlog "*) [ -d bench/peers/node_modules ] || npm ci --prefix bench/peers ;;
esac

table=$(mktemp)
trap 'rm -f "$table" "$table.new"' EXIT

# Writes the table between the marks of its section.
replace() {
  awk -v name="$1" -v table="$table" '
    $0 == "<!-- end " name " -->" { inside = 0 }
    !inside { print }
    $0 == "<!-- begin " name " -->" { inside = 1; while ((getline line < table) > 0) print line }
  ' BENCHMARKS.md >"$table.new"
  cat "$table.new" >BENCHMARKS.md
}

machine() {
  echo "| | |"
  echo "|---|---|"
  echo "| measured | $(date -u +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown) |"
  echo "| machine | $(nproc) × $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo) |"
  echo "| system | Linux $(uname -r) |"
  echo "| MariaDB | $(PATH=$PATH:/usr/sbin mariadbd --version | sed 's/.*Ver \([^ ]*\).*/\1/') |"
  echo "| Redis | $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/') |"
  echo "| Node | $(node --version 2>/dev/null || echo none) |"
  echo "| Rust | $(rustc --version) |"
}

show() {
  if [ -n "$print" ]; then cat "$table"; else replace "$1"; echo "$1: written" >&2; fi
}

if [ -z "$print" ]; then machine >"$table"; show machine; fi
failed=0
for section in "${wanted[@]}"; do
  # shellcheck disable=SC2206 # the arguments are separate words
  arguments=(${sections[$section]})
  {
    echo
    echo "\`bench ${arguments[*]}\`"
    echo
  } >"$table"
  # A section that fails does not stop the others.
  if "$BENCH" "${arguments[@]}" >>"$table"; then show "$section"; else echo "$section: failed" >&2; failed=1; fi
done
exit "$failed"
