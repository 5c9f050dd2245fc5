#!/usr/bin/env bash
# Prints the secrets of an installation as manifests, with new random keys and tokens:
#
#   DATABASE_URL=mysql://orders:…@db:3306/orders MIGRATE_DATABASE_URL=mysql://admin:…@db:3306/orders \
#     REDIS_URL=redis://:…@redis:6379/ WEBHOOK_URL=https://shop.example/orders \
#     ops/kubernetes/secrets.sh | kubectl --namespace orders apply -f -
#
# Run it once: the keys in the database and the encrypted secrets of webhook endpoints belong to the first output. Keep the
# output in a store of secrets, or not at all. WEBHOOK_URL is the receiver of the handler `webhook`; without it the secret of
# the processors has only their token.
set -euo pipefail
: "${DATABASE_URL:?the URL of the database for gateways}"
: "${MIGRATE_DATABASE_URL:?the URL of the database for a user that may change tables}"
: "${REDIS_URL:?the URL of Redis}"

alphabet=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz

# Prints this number of random characters.
random() {
  local characters=
  while [ ${#characters} -lt "$1" ]; do
    characters+=$(head -c 512 /dev/urandom | LC_ALL=C tr -dc "$alphabet")
  done
  printf %s "${characters:0:$1}"
}

# Prints a new API key: ord_<id>_<secret><the CRC-32 of what precedes it in base 62>. gzip computes the CRC-32.
api_key() {
  local head sum digits=
  head=ord_$(random 8)_$(random 43)
  sum=$(printf %s "$head" | gzip -c | tail -c 8 | head -c 4 | od -An -v -tu1 |
    { read -r a b c d; echo $((a + b * 256 + c * 65536 + d * 16777216)); })
  for _ in 1 2 3 4 5 6; do
    digits=${alphabet:$((sum % 62)):1}$digits
    sum=$((sum / 62))
  done
  printf %s%s "$head" "$digits"
}

random_base64() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

# Prints a secret: NAME, then pairs of a key and its value.
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\ntype: Opaque\ndata:\n' "$1"
  shift
  while [ $# -gt 0 ]; do
    printf '  %s: %s\n' "$1" "$(printf %s "$2" | base64 | tr -d '\n')"
    shift 2
  done
}

worker_key=$(api_key)
processor=(token "$worker_key")
if [ -n "${WEBHOOK_URL:-}" ]; then
  processor+=(webhook-url "$WEBHOOK_URL" webhook-secret "whsec_$(random_base64)")
fi
secret orders-gateway database-url "$DATABASE_URL" redis-url "$REDIS_URL" bus-secret "$(random 43)" \
  secret-key "$(random_base64)"
secret orders-first-keys bootstrap-key "$(api_key)" bootstrap-worker-key "$worker_key"
secret orders-processor "${processor[@]}"
secret orders-migrate database-url "$MIGRATE_DATABASE_URL"
