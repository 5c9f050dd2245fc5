#!/usr/bin/env bash
# Sends mutated requests to a private gateway, over every interface, for a minute each:
#
#   scripts/fuzz.sh                   rest, graphql, http1, websocket, grpc
#   scripts/fuzz.sh rest grpc         some of them
#
# ORDERS_FUZZ_SECONDS is the duration of each (60), and ORDERS_FUZZ_SEED repeats a run; the seed is printed. The exit
# status is not 0 if the gateway responded with an undocumented 5xx, panicked or hung, or if its memory grew.
set -euo pipefail
cd "$(dirname "$0")/.."

export ORDERS_FUZZ_SECONDS=${ORDERS_FUZZ_SECONDS:-60}
export ORDERS_FUZZ_SEED=${ORDERS_FUZZ_SEED:-$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')}
echo "seed: ORDERS_FUZZ_SEED=$ORDERS_FUZZ_SEED"
# One at a time, so that each has all cores.
exec cargo test --package orders --test fuzz -- --nocapture --test-threads=1 "$@"
