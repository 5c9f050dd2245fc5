#!/usr/bin/env bash
# Makes the Debian packages of the built programs:
#
#   scripts/release/deb.sh [x86_64|aarch64…]
#
# The files are those of ops/debian, the program, its manual pages and completions, which the program prints. The result is
# packages/orders_VERSION-1_amd64.deb (or arm64).
. "$(dirname "$0")/lib.sh"
case ${1:-} in -*) usage ;; esac
# ORDERS_RELEASE_PROGRAM is another program in place of the built one, for tests.

pack() {
  local program runner root deb page shell
  program=${ORDERS_RELEASE_PROGRAM:-$(binary "$1")}
  [ -x "$program" ] || die "$program is missing; build it with scripts/release/build.sh $1"
  select_runner "$1"
  root=$(mktemp -d)
  chmod 755 "$root"
  deb=$packages/orders_$version-1_$(debian_architecture "$1").deb
  file() { install -D --mode "$1" "$2" "$root/$3"; }

  file 755 "$program" usr/bin/orders
  for unit in ops/debian/*.service; do file 644 "$unit" "usr/lib/systemd/system/${unit##*/}"; done
  file 644 ops/debian/orders.toml etc/orders/orders.toml
  mkdir -p "$root/usr/share/man/man1" "$root/usr/share/doc/orders" "$root/DEBIAN"
  "${runner[@]}" "$program" man --folder "$root/usr/share/man/man1" >/dev/null
  for shell in bash zsh fish; do
    page=$(mktemp)
    "${runner[@]}" "$program" completions "$shell" >"$page"
    case $shell in
      bash) file 644 "$page" usr/share/bash-completion/completions/orders ;;
      zsh) file 644 "$page" usr/share/zsh/vendor-completions/_orders ;;
      fish) file 644 "$page" usr/share/fish/vendor_completions.d/orders.fish ;;
    esac
    rm "$page"
  done
  file 644 CHANGELOG.md usr/share/doc/orders/changelog
  scripts/release/notices.py >"$root/usr/share/doc/orders/THIRD-PARTY.txt"
  printf 'orders (%s-1) stable; urgency=medium\n\n  * Release %s: see changelog.gz.\n\n -- %s  %s\n' "$version" "$version" \
    "$(sed -n 's/^Maintainer: //p' ops/debian/control)" "$(date --utc --rfc-email --date "@$SOURCE_DATE_EPOCH")" \
    >"$root/usr/share/doc/orders/changelog.Debian"
  awk -v copyright="$(sed -n 's/^Copyright (c) //p' LICENSE)" '
    { sub("@COPYRIGHT@", copyright) }
    $0 != "@LICENSE@" { print; next }
    { while ((getline line <"LICENSE") > 0) if (text || line ~ /^Permission/) { text = 1; print line == "" ? " ." : " " line } }
  ' ops/debian/copyright >"$root/usr/share/doc/orders/copyright"
  find "$root/usr/share/man" "$root/usr/share/doc/orders" -type f ! -name copyright -exec gzip --no-name --best {} +
  chmod -R u=rwX,go=rX "$root/usr" "$root/etc"

  sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$(debian_architecture "$1")/" \
    -e "s/@SIZE@/$(du --summarize --apparent-size --block-size 1024 "$root" | cut -f1)/" ops/debian/control >"$root/DEBIAN/control"
  echo /etc/orders/orders.toml >"$root/DEBIAN/conffiles"
  for script in postinst prerm postrm; do file 755 "ops/debian/$script" "DEBIAN/$script"; done
  (cd "$root" && find etc usr -type f -print0 | LC_ALL=C sort --zero-terminated | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
  # dpkg-deb uses SOURCE_DATE_EPOCH for its archive, but not for older files.
  find "$root" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >&2
  rm -rf "$root"
  if have lintian && [ -z "${ORDERS_RELEASE_PROGRAM:-}" ]; then
    # The maintainers have no address of mail, and the program is static on purpose.
    lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,statically-linked-binary "$deb" >&2
  fi
  step "$deb"
}

for architecture in ${*:-$all_architectures}; do pack "$architecture"; done
