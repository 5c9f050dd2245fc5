#!/usr/bin/env bash
# Runs Vitess with two shards for `cargo test -p orders --test vitess`: etcd, two MySQL servers, two vttablets, one vtgate. Each is a
# process that can be killed separately.
#
#   eval "$(scripts/vitess.sh start)"    sets ORDERS_TEST_VITESS_URL, ORDERS_TEST_VTGATE_HTTP and ORDERS_TEST_VITESS_SCRIPT; the first call
#                                        builds Vitess (12 minutes on 2 cores), later calls take half a minute
#   scripts/vitess.sh vschema FILE       applies a VSchema to the keyspace `orders`
#   scripts/vitess.sh sql SHARD 'SQL…'   executes SQL on one shard (-80 or 80-) without vtgate, and prints the rows
#   scripts/vitess.sh kill|restart tablet1|tablet2|mysqld1|mysqld2|vtgate|etcd
#   scripts/vitess.sh stop               stops all processes and keeps the data
#   scripts/vitess.sh wipe               stops all processes and deletes the data
#
# TX_MODE=single (the default: a transaction must not touch two shards), multi or twopc. Needs root, Go 1.26 and Debian's apt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
V=${VITESS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/orders-vitess}; export VTDATAROOT=$V/data
M=${MYSQL9_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/orders-mysql9}; R=$M/root
VERSION=v0.24.4; KS=orders; SHARDS=(-80 80-)
GATE=${VTGATE_PORT:-15306}; ETCD=$((GATE+1)); HTTP=$((GATE+2)); GRPC=$((GATE+3))
topo=(--topo-implementation etcd2 --topo-global-server-address "127.0.0.1:$ETCD" --topo-global-root /vitess/global)
say(){ echo "vitess: $*" >&2; }
alive(){ [ -s "$V/$1.pid" ] && kill -0 "$(cat "$V/$1.pid")" 2>/dev/null; }
end(){ alive "$1" && kill "${2:--TERM}" "$(cat "$V/$1.pid")" 2>/dev/null || true; for _ in $(seq 1 100); do alive "$1" || break; sleep 0.1; done; rm -f "$V/$1.pid"; }
listening(){ (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port(){ for _ in $(seq 1 300); do listening "$1" && return; alive "$2" || break; sleep 0.2; done; say "$2 does not listen on $1:"; tail -5 "$V/$2.log" >&2; exit 1; }
# The Vitess programs refuse to run as root.
spawn(){ local name=$1; shift; setsid setpriv --reuid=65534 --regid=65534 --clear-groups "$@" >"$V/$name.log" 2>&1 </dev/null & echo $! >"$V/$name.pid"; }
ctl(){ "$V/bin/vtctldclient" --server internal "${topo[@]}" "$@" 2>>"$V/ctl.log"; }
build(){
  [ -x "$V/bin/vtgate" ] && [ -x "$V/bin/vttablet" ] && [ -x "$V/bin/vtctldclient" ] && return
  command -v go >/dev/null || { say "Go is missing"; exit 1; }
  mkdir -p "$V/src" "$V/bin"; say "building Vitess $VERSION (once, about 12 minutes)"
  # 'go install module@version' refuses its go.mod, which has exclude directives. Therefore a local module requires it.
  (cd "$V/src" && printf 'module vitess-tools\ngo 1.26\n' >go.mod &&
   printf '//go:build tools\npackage tools\nimport (\n_ "vitess.io/vitess/go/cmd/vtgate"\n_ "vitess.io/vitess/go/cmd/vttablet"\n_ "vitess.io/vitess/go/cmd/vtctldclient"\n)\n' >tools.go &&
   go get "vitess.io/vitess/go/cmd/vtgate@$VERSION" && go mod tidy && go build -o "$V/bin/" vitess.io/vitess/go/cmd/vtgate vitess.io/vitess/go/cmd/vttablet vitess.io/vitess/go/cmd/vtctldclient) >"$V/build.log" 2>&1 || { tail -5 "$V/build.log" >&2; exit 1; }
}
# Debian has no MySQL server besides that of its unstable branch, which is installed in a separate folder.
install_mysql(){
  local mirror
  mkdir -p "$M"
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -nE 's#^(deb |URIs: *).*(https?://[^ ]+/debian)/?( .*)?$#\2#p' | head -1) || true
  [ -n "$mirror" ] || { say "no Debian mirror in the sources of apt"; exit 1; }
  mmdebstrap -q --aptopt='Acquire::Check-Valid-Until "false"' --variant=minbase --include=mysql-server-core,passwd sid "$R" "$mirror" >"$M/log" 2>&1 ||
    { tail -5 "$M/log" >&2; exit 1; }
  chroot "$R" sh -c 'id mysql >/dev/null 2>&1 || useradd -r -M -s /usr/sbin/nologin mysql; mkdir -p /var/run/mysqld /var/lib/mysql-files /dev; chown mysql: /var/run/mysqld /var/lib/mysql-files; [ -e /dev/urandom ] || mknod -m 666 /dev/urandom c 1 9; [ -e /dev/null ] || mknod -m 666 /dev/null c 1 3'
}
mysqld(){ # N
  local n=$1 p=$((GATE+10+$1)) d=/var/lib/mysql-vt$1
  alive "mysqld$n" && return
  [ -d "$R$d/mysql" ] || chroot "$R" sh -c "mkdir -p $d && chown mysql: $d && /usr/sbin/mysqld --no-defaults --initialize-insecure --user=mysql --datadir=$d" >>"$V/mysqld$n.log" 2>&1
  printf "CREATE DATABASE IF NOT EXISTS vt_$KS;\nCREATE USER IF NOT EXISTS 'vt'@'%%' IDENTIFIED BY 'vt';\nGRANT ALL ON *.* TO 'vt'@'%%' WITH GRANT OPTION;\n" >"$R/var/lib/mysql-files/vt.sql"; chmod 644 "$R/var/lib/mysql-files/vt.sql"
  setsid chroot "$R" /usr/sbin/mysqld --no-defaults --user=mysql --datadir="$d" --bind-address=127.0.0.1 --port="$p" --mysqlx=OFF --socket="/var/run/mysqld/vt$n.sock" --pid-file="/var/run/mysqld/vt$n.pid" --init-file=/var/lib/mysql-files/vt.sql \
    --transaction-isolation=READ-COMMITTED --innodb-lock-wait-timeout=1 --server-id="$n" --gtid-mode=ON --enforce-gtid-consistency=ON --log-bin=vt --binlog-format=ROW --max-connections=500 --innodb-flush-log-at-trx-commit="2" --sync-binlog=0 >>"$V/mysqld$n.log" 2>&1 </dev/null & echo $! >"$V/mysqld$n.pid"
  port "$p" "mysqld$n"
}
tablet(){ # N
  local n=$1 p=$((GATE+20+$1)) g=$((GATE+30+$1)); alive "tablet$n" && return
  local users=(); for u in app dba allprivs appdebug repl filtered; do users+=(--db-$u-user vt --db-$u-password vt); done
  spawn "tablet$n" "$V/bin/vttablet" "${topo[@]}" --tablet-path "zone1-10$n" --init-keyspace "$KS" --init-shard "${SHARDS[n-1]}" --init-tablet-type replica --unmanaged \
    --port "$p" --grpc-port "$g" --bind-address 127.0.0.1 --grpc-bind-address 127.0.0.1 --tablet-hostname 127.0.0.1 --service-map grpc-queryservice,grpc-tabletmanager,grpc-updatestream \
    --db-host 127.0.0.1 --db-port $((GATE+10+n)) "${users[@]}" --db-charset utf8mb4 --queryserver-config-pool-size 32 --queryserver-config-transaction-cap 100 --queryserver-config-transaction-timeout 30s
  port "$g" "tablet$n"
}
vtgate(){
  alive vtgate && return
  spawn vtgate "$V/bin/vtgate" "${topo[@]}" --cell zone1 --cells-to-watch zone1 --tablet-types-to-wait PRIMARY --port "$HTTP" --grpc-port "$GRPC" --bind-address 127.0.0.1 --grpc-bind-address 127.0.0.1 --service-map grpc-vtgateservice \
    --mysql-auth-server-impl none --mysql-server-port "$GATE" --mysql-server-bind-address 127.0.0.1 --mysql-server-version 8.4.6-Vitess --transaction-mode "$(echo "${TX_MODE:-single}" | tr a-z A-Z)" --enable-direct-ddl
  port "$GATE" vtgate
}
etcd(){ alive etcd && return; spawn etcd /usr/bin/etcd --data-dir "$V/data/etcd" --listen-client-urls "http://127.0.0.1:$ETCD" --advertise-client-urls "http://127.0.0.1:$ETCD" --listen-peer-urls "http://127.0.0.1:$((GATE+4))"; port "$ETCD" etcd; }
one(){ case $1 in mysqld?) mysqld "${1#mysqld}";; tablet?) tablet "${1#tablet}";; vtgate) vtgate;; etcd) etcd;; *) sed -n 2,14p "$0"; exit 2;; esac; }
case ${1:-start} in
start)
  [ "$(id -u)" = 0 ] || { say "needs root (it starts MySQL in a separate folder and the other processes without privileges)"; exit 1; }
  command -v etcd >/dev/null && command -v mariadb >/dev/null && command -v mmdebstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends etcd-server mariadb-client mmdebstrap >/dev/null
  mkdir -p "$V/data"
  build
  [ -x "$R/usr/sbin/mysqld" ] || install_mysql
  mkdir -p "$R/var/run/mysqld" "$R/var/lib/mysql-files"
  # A user without privileges needs access to the programs and the data.
  d=$V; while [ "$d" != / ]; do chmod o+x "$d"; d=$(dirname "$d"); done; chown -R 65534:65534 "$V/data"
  mysqld 1; mysqld 2; etcd
  ctl AddCellInfo --root /vitess/zone1 --server-address "127.0.0.1:$ETCD" zone1 >/dev/null || true
  ctl CreateKeyspace --durability-policy none "$KS" >/dev/null || true
  tablet 1; tablet 2
  for n in 1 2; do ctl TabletExternallyReparented "zone1-10$n" >/dev/null || true; done
  vtgate
  for _ in $(seq 1 100); do mariadb --skip-ssl -h127.0.0.1 -P"$GATE" -uuser -N -e "SHOW VITESS_TABLETS" "$KS" 2>/dev/null | grep -c "PRIMARY.SERVING" | grep -qx 2 && break; sleep 0.2; done
  say "Vitess ${VERSION#v0.}, shards ${SHARDS[*]}, transactions ${TX_MODE:-single}, port $GATE"
  ctl ApplyVSchema --vschema-file "$here/../migrations/vitess/vschema.json" "$KS" >/dev/null
  echo "export ORDERS_TEST_VITESS_URL=mysql://user@127.0.0.1:$GATE/$KS ORDERS_TEST_VTGATE_HTTP=http://127.0.0.1:$HTTP ORDERS_TEST_VITESS_SCRIPT=$here/vitess.sh";;
vschema) ctl ApplyVSchema --vschema-file "$2" "$KS" >/dev/null && say "applied $2";;
sql) [ "$2" = -80 ] && n=1 || n=2; mariadb --skip-ssl -h127.0.0.1 -P$((GATE+10+n)) -uvt -pvt "vt_$KS" -e "$3";;
kill) end "$2" -KILL;;
restart) end "$2"; one "$2";;
stop|wipe) for p in vtgate tablet1 tablet2 etcd mysqld1 mysqld2; do end "$p"; done; [ "$1" = stop ] || rm -rf "$V/data" "$R/var/lib/mysql-vt1" "$R/var/lib/mysql-vt2";;
*) sed -n 2,14p "$0"; exit 2;;
esac
