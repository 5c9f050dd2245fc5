#!/bin/sh
# Creates the secrets of docker-compose.yml at the first start, random and as files. Each folder below /secrets is a volume of the
# services that need it, and of no other. Existing files stay; remove the volumes together: docker compose down --volumes
set -eu
root=${1:-/secrets}
umask 022

# Prints 43 random characters, which a URL can contain.
random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# Writes standard input into a file that does not exist, as a whole.
create() {
  cat >"$root/$1.new"
  mv "$root/$1.new" "$root/$1"
}

# The file that is written last: with it all others exist.
[ ! -e "$root/gateway/database-url" ] || exit 0

mysql=$(random) redis=$(random)
random | create mysql/root-password
printf %s "$mysql" | create mysql/password
printf 'requirepass %s\n' "$redis" | create redis/redis.conf
printf %s "$redis" | create redis/password
random | create grafana/password
printf 'redis://:%s@redis:6379/' "$redis" | create gateway/redis-url
head -c 32 /dev/urandom | base64 | create gateway/secret-key
printf 'mysql://orders:%s@mysql:3306/orders' "$mysql" | create gateway/database-url
