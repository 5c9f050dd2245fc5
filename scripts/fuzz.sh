#!/usr/bin/env bash
# Sends mutated requests to a gateway of its own, over every interface, for a minute each:
#
#   scripts/fuzz.sh                   rest, graphql, http1, websocket, grpc
#   scripts/fuzz.sh rest grpc         some of them
#
# ORDERS_FUZZ_SECONDS sets how long each runs (60), ORDERS_FUZZ_SEED repeats a run; the seed is printed. The exit
# status is not 0 when the gateway answered with an undocumented 5xx, panicked, hung, or when its memory grew.
set -euo pipefail
cd "$(dirname "$0")/.."

export ORDERS_FUZZ_SECONDS=${ORDERS_FUZZ_SECONDS:-60}
export ORDERS_FUZZ_SEED=${ORDERS_FUZZ_SEED:-$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')}
echo "seed: ORDERS_FUZZ_SEED=$ORDERS_FUZZ_SEED"
# One after the other: each has the machine for itself.
exec cargo test --package orders --test fuzz -- --nocapture --test-threads=1 "$@"
