#!/usr/bin/env bash
# Runs the system under a mixed load for hours, causes a random fault every few seconds, and judges what grows:
#
#   scripts/soak.sh [--duration 4h] [--seed N] [--samples FILE] [--release]
#
# --duration   the duration of the load: a number of seconds, or with the unit m or h; 5m to 12h
# --seed       repeats the faults of another run; the seed is printed
# --samples    the file for all samples, as CSV
# --release    the release build, in place of the debug build
#
# It needs what scripts/services.sh needs, and two cores. The exit status is not 0 if an order was lost, if a subscriber has a gap, or if
# memory, open files, threads, connections, the database or latencies grow. docs/contribute/soak.md describes the judgement.
set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "$0")/.."
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$script" >&2; exit 2; }

duration=4h seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ') build=()
while [ $# -gt 0 ]; do
  case $1 in
    --duration) duration=${2:?} ; shift 2 ;;
    --seed) seed=${2:?} ; shift 2 ;;
    --samples) ORDERS_SOAK_SAMPLES=$(realpath -m "${2:?}"); export ORDERS_SOAK_SAMPLES; shift 2 ;;
    --release) build=(--release) ; shift ;;
    *) usage ;;
  esac
done
[[ $seed =~ ^[0-9]{1,18}$ ]] && [[ $duration =~ ^([0-9]{1,6})([mh]?)$ ]] || usage
seconds=$((10#${BASH_REMATCH[1]}))
case ${BASH_REMATCH[2]} in m) seconds=$((seconds * 60)) ;; h) seconds=$((seconds * 3600)) ;; esac
[ "$seconds" -ge 300 ] && [ "$seconds" -le 43200 ] || usage

export ORDERS_SOAK_SECONDS=$seconds ORDERS_SOAK_SEED=$seed
exec scripts/services.sh run -- cargo test "${build[@]}" --quiet --package orders --test faults -- \
  --ignored --exact soak::for_a_given_time --nocapture
