#!/usr/bin/env bash
# Tries a built program: it must be static, and complete an order.
#
#   scripts/release/try.sh PROGRAM x86_64|aarch64
#
# It runs on free ports of 127.0.0.1, in a temporary folder.
. "$(dirname "$0")/lib.sh"
[ $# = 2 ] || usage
program=$(realpath "$1") architecture=$2
select_runner "$architecture"

case $(file --brief "$program") in
  *"$(tr _ - <<<"$architecture"),"*"static"*", stripped"* | *"ARM $architecture,"*"static"*", stripped"*) ;;
  *) die "$program is not a stripped static program for $architecture: $(file --brief "$program")" ;;
esac
if readelf --program-headers "$program" | grep -q INTERP; then die "$program needs a dynamic loader"; fi
# An empty string of the remapped folders would match every line.
for folder in "$PWD" "${CARGO_HOME:-$HOME/.cargo}"; do
  ! grep --quiet --text --fixed-strings "$folder/" "$program" || die "$program contains the path $folder"
done
[ "$("${runner[@]}" "$program" --version)" = "orders $version" ] || die "$program is not version $version"

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
# Without variables of the caller.
orders() { env -i "HOME=$folder" "PATH=$PATH" "${runner[@]}" "$program" "$@"; }
cd "$folder"
# They exist before the loop below reads them.
touch banner log
env -i "HOME=$folder" "PATH=$PATH" "${runner[@]}" "$program" dev --http-addr 127.0.0.1:0 --grpc-addr 127.0.0.1:0 \
  >banner 2>log &
server=$!
for _ in {1..600}; do
  url=$(sed -n 's|^  Page  *\(http://.*\)/$|\1|p' banner)
  [ -z "$url" ] || break
  kill -0 "$server" 2>/dev/null || { cat log >&2; die "$program has ended"; }
  sleep 0.1
done
[ -n "$url" ] || { cat log >&2; die "$program is not ready after a minute"; }
order=$(orders create --url "$url" --item Laptop --quantity 2 --price 1299.99 -o id)
orders watch --url "$url" "$order"
kill -TERM "$server"
wait "$server" || die "the program ended with exit code $?"
server=
step "$program is static and has completed the order $order on $architecture"
