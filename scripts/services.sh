#!/usr/bin/env bash
# Runs a command with a private, temporary MariaDB and Redis:
#
#   scripts/services.sh run -- cargo test --workspace
#   scripts/services.sh run -- bash          an interactive shell
#
# The command gets these variables:
#   ORDERS_TEST_MYSQL_URL   mysql://orders:orders@127.0.0.1:PORT/   a user who may create databases and users
#   ORDERS_TEST_REDIS_URL   redis://127.0.0.1:PORT/
#   ORDERS_TEST_MARIADB     an empty data folder to copy, for tests that kill a separate MariaDB
# Its exit status is the exit status of this script.
#
# The servers use free ports on 127.0.0.1 and one temporary folder, without durability. Both servers and the folder are
# removed when the command ends, also after Ctrl-C and kill. The servers ask the kernel to be killed with this script, so
# none survives `kill -9`. As root the servers run as `mysql` and `redis`, or as the user without
# privileges.

# shellcheck disable=SC2317 # functions are called by name
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

die() { echo "services: $*" >&2; exit 1; }

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }

for tool in mariadbd mariadb-install-db mariadb-admin redis-server redis-cli setpriv setsid; do
  command -v "$tool" >/dev/null || die "$tool not found (Debian: apt-get install --no-install-recommends mariadb-server redis-server util-linux)"
done

# drop USER COMMAND…: replaces this process by the command, so that `$!` of `drop … &` is the server. In a separate
# session it does not receive Ctrl-C of the terminal: the tests end first, then their servers.
drop() {
  local user=$1 ids=()
  shift
  if [ "$(id -u)" = 0 ]; then
    id "$user" >/dev/null 2>&1 || user=nobody
    ids=(--reuid "$user" --regid "$(id -g "$user")" --clear-groups)
  fi
  exec setsid setpriv "${ids[@]}" --pdeathsig KILL "$@"
}

# Creates a folder for the server of this user.
folder() {
  mkdir -p "$dir/$1"
  if [ "$(id -u)" = 0 ]; then chown "$(id -u "$2" 2>/dev/null || id -u nobody)" "$dir/$1"; fi # prose:allow
}

# Returns a free port. It is below the range of outgoing connections, so no connection uses it by chance.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  die "no free port found"
}

start_mariadb() {
  local port=$1 home=$dir/mariadb
  drop mysql mariadbd --no-defaults --datadir="$home/data" --tmpdir="$home" --init-file="$home/init.sql" \
    --socket="$home/socket" --pid-file="$home/pid" --log-error="$home/log" \
    --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --max-connections=500 \
    --character-set-server=utf8mb4 --collation-server=utf8mb4_bin \
    --performance-schema=OFF --innodb-buffer-pool-size=64M --innodb-log-file-size=16M \
    --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --skip-log-bin
}

# The pid file is written after the port is bound, so it proves that this server listens there.
mariadb_answers() {
  [ "$(cat "$dir/mariadb/pid" 2>/dev/null)" = "$2" ] &&
    mariadb-admin --no-defaults --protocol=tcp -h127.0.0.1 -P"$1" -uorders -porders ping
}

start_redis() {
  drop redis redis-server --bind 127.0.0.1 --port "$1" --dir "$dir/redis" --logfile "$dir/redis/log" \
    --save "" --appendonly no --daemonize no
}

redis_answers() { redis-cli -p "$1" info server | grep -q "^process_id:$2[[:space:]]"; }

# start NAME: starts it on a free port and waits until it responds. Sets `port`.
start() {
  local name=$1 pid
  for _ in 1 2 3; do
    port=$(free_port)
    "start_$name" "$port" </dev/null >/dev/null 2>&1 &
    pid=$!
    servers+=("$pid")
    for _ in {1..600}; do
      if "${name}_answers" "$port" "$pid" >/dev/null 2>&1; then return; fi
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.05
    done
  done
  tail -n 20 "$dir/$name/log" >&2 || true
  die "$name did not start"
}

stop() {
  local pid
  # Ends the remaining processes of the command's process group.
  if [ -n "$child" ]; then kill -KILL -- "-$child" 2>/dev/null || true; fi
  for pid in "${servers[@]}"; do
    if kill -KILL "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null || true; fi
  done
  rm -rf -- "$dir"
}

if [ "${1:-} ${2:-}" != "run --" ] || [ $# -lt 3 ]; then usage; fi
shift 2

servers=()
child=
dir=$(mktemp -d "${TMPDIR:-/tmp}/orders-services.XXXXXX")
chmod 755 "$dir"
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

folder mariadb mysql
folder redis redis
cat >"$dir/mariadb/init.sql" <<'SQL'
CREATE USER 'orders'@'%' IDENTIFIED BY 'orders';
GRANT ALL ON *.* TO 'orders'@'%' WITH GRANT OPTION;
SQL
(drop mysql mariadb-install-db --no-defaults --datadir="$dir/mariadb/data" --tmpdir="$dir/mariadb" --skip-test-db --skip-name-resolve --force \
  --auth-root-authentication-method=normal --innodb-log-file-size=16M) </dev/null >"$dir/install.log" 2>&1 ||
  { cat "$dir/install.log" >&2; die "mariadb-install-db failed"; }

cp -a "$dir/mariadb/data" "$dir/mariadb/empty"
export ORDERS_TEST_MARIADB="$dir/mariadb/empty"

start redis
export ORDERS_TEST_REDIS_URL="redis://127.0.0.1:$port/"
start mariadb
export ORDERS_TEST_MYSQL_URL="mysql://orders:orders@127.0.0.1:$port/"

status=0
if [ -t 0 ]; then
  # At a terminal the command runs in the foreground: it receives Ctrl-C, and a shell is interactive.
  "$@" || status=$?
else
  # Otherwise it has a separate process group, so that a signal to this script ends all of its processes.
  set -m
  "$@" &
  child=$!
  set +m
  trap 'kill -INT -- "-$child" 2>/dev/null || true' INT
  trap 'kill -TERM -- "-$child" 2>/dev/null || true' TERM HUP
  # A signal interrupts `wait`, so it is repeated until the command has ended.
  while kill -0 "$child" 2>/dev/null; do wait "$child" || status=$?; done
fi
exit "$status"
