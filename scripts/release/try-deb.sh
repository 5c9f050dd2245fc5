#!/usr/bin/env bash
# Tries the Debian package of this machine's architecture in an empty Debian 12, as root:
#
#   scripts/release/try-deb.sh
#
# The package must install, run as the user of its services, upgrade, and remove cleanly. debootstrap downloads the base system.
. "$(dirname "$0")/lib.sh"
[ $# = 0 ] || usage
have debootstrap || die "debootstrap not found (Debian: apt-get install debootstrap)"
[ "$(id -u)" = 0 ] || die "try-deb.sh needs root, for chroot"
deb=$packages/orders_$version-1_$(debian_architecture "$(uname -m)").deb
[ -s "$deb" ] || die "$deb is missing; make it with scripts/release/deb.sh"

for unit in ops/debian/*.service; do
  if have systemd-analyze; then
    exposure=$(systemd-analyze security --offline=true --no-pager "$unit" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    step "${unit##*/}: exposure level $exposure"
    awk -v level="$exposure" 'BEGIN { exit !(level != "" && level < 2) }' || die "${unit##*/} is exposed: $exposure"
  fi
done

root=$(mktemp -d)
chmod 755 "$root"
server=
cleanup() {
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
  for folder in proc dev; do umount --recursive "$root/$folder" 2>/dev/null || true; done
  rm -rf --one-file-system "$root"
}
trap cleanup EXIT
step "debootstrap"
debootstrap --variant=minbase --include=adduser bookworm "$root" >"$root.log" 2>&1 || { tail -5 "$root.log" >&2; die "debootstrap failed"; }
rm -f "$root.log"
mount --types proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
cp "$deb" "$root/orders.deb"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
# As the services: the program's user, without a home. No function, which in the background would be another process.
as_service=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ORDERS_CONFIG_FILE=/etc/orders/orders.toml
  chroot --userspec orders:orders "$root")
install() { inside dpkg --install /orders.deb >"$root/dpkg.log" 2>&1 || { cat "$root/dpkg.log" >&2; die "the package does not install"; }; }

install
[ "$(inside orders --version)" = "orders $version" ] || die "the program is not version $version"
[ "$(inside stat --format '%U %a' /etc/orders/secrets)" = "orders 700" ] || die "/etc/orders/secrets is open"
# In place of systemd, which creates the folder of the services.
inside install --directory --mode 700 --owner orders --group orders /var/lib/orders
# They exist before the loop below reads them.
touch "$root/banner" "$root/log"
"${as_service[@]}" orders dev --data-dir /var/lib/orders --http-addr 127.0.0.1:0 --grpc-addr 127.0.0.1:0 >"$root/banner" 2>"$root/log" &
server=$!
for _ in {1..300}; do
  url=$(sed -n 's|^  Page  *\(http://.*\)/$|\1|p' "$root/banner")
  [ -z "$url" ] || break
  kill -0 "$server" 2>/dev/null || { cat "$root/log" >&2; die "the program has ended"; }
  sleep 0.1
done
[ -n "$url" ] || { cat "$root/log" >&2; die "the program is not ready"; }
order=$("${as_service[@]}" orders create --url "$url" --item Laptop --quantity 2 --price 1299.99 -o id)
"${as_service[@]}" orders watch --url "$url" "$order" >&2
kill -TERM "$server"
wait "$server" || die "the program ended with exit code $?"
server=

echo '# a change of the administrator' >>"$root/etc/orders/orders.toml"
install
grep -q 'a change of the administrator' "$root/etc/orders/orders.toml" || die "an upgrade replaced the settings"
inside dpkg --remove orders >/dev/null
[ ! -e "$root/usr/bin/orders" ] && [ -e "$root/etc/orders/orders.toml" ] || die "the package does not remove cleanly"
inside dpkg --purge orders >/dev/null
left=$(inside find /etc /usr -name '*orders*')
[ -z "$left" ] || die "after a purge these files are left: $left"
[ -e "$root/var/lib/orders/orders.db" ] || die "a purge removed the orders"
step "the package has completed the order $order, and was upgraded and removed"
