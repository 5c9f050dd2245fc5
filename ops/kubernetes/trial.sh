#!/usr/bin/env bash
# From nothing to the first completed order, in the namespace orders-trial of the current context of kubectl:
#
#   ops/kubernetes/trial.sh [IMAGE]
#
# IMAGE is the image of the program as the cluster can pull it (default: that of the manifests). The namespace has a MySQL and a
# Redis that keep nothing. To remove everything: kubectl delete namespace orders-trial
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
image=${1:-}
namespace=orders-trial
kubectl() { command kubectl --namespace "$namespace" "$@"; }
step() { printf '== %s\n' "$*"; }
password() { head -c 18 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

step "secrets"
kubectl apply -f "$folder/trial/namespace.yaml"
if ! kubectl get secret trial-servers >/dev/null 2>&1; then
  mysql=$(password) redis=$(password)
  DATABASE_URL="mysql://orders:$mysql@mysql:3306/orders" MIGRATE_DATABASE_URL="mysql://orders:$mysql@mysql:3306/orders" \
    REDIS_URL="redis://:$redis@redis:6379/" "$folder/secrets.sh" | kubectl apply -f -
  # Over standard input, because other users of the machine can read arguments.
  printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: trial-servers}\nstringData:\n  %s\n  %s\n  %s\n' \
    "mysql-password: '$mysql'" "mysql-root-password: '$(password)'" "redis.conf: requirepass $redis" | kubectl apply -f -
fi

step "servers, migration, gateways and processors"
kubectl delete job orders-migrate --ignore-not-found
kubectl kustomize "$folder/trial" | sed ${image:+-e "s|image: orders:.*|image: $image|"} -e '' | kubectl apply -f -
for deployment in mysql redis orders-gateway orders-processor; do
  kubectl rollout status "deployment/$deployment" --timeout 300s
done

step "the first order"
key=$(kubectl get secret orders-first-keys -o 'jsonpath={.data.bootstrap-key}' | base64 -d)
forward=$(mktemp)
# A function in the background would be another process, which survives.
(exec kubectl --namespace "$namespace" port-forward service/orders-gateway :3000 >"$forward") &
forwarding=$!
trap 'kill "$forwarding" 2>/dev/null; rm -f "$forward"' EXIT
for _ in $(seq 100); do
  port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$forward")
  [ -z "$port" ] || break
  kill -0 "$forwarding" || { echo "error: kubectl port-forward has ended" >&2; exit 1; }
  sleep 0.2
done
api() { curl --fail-with-body --silent --show-error --config - "$@" <<<"header = \"Authorization: Bearer $key\""; }
order=$(api "http://127.0.0.1:$port/orders" --header 'Content-Type: application/json' \
  --data '{"item": "Laptop", "quantity": 2, "price": 1299.99}')
id=$(sed -n 's/.*"id":"\([0-9a-f-]*\)".*/\1/p' <<<"$order")
for _ in $(seq 60); do
  status=$(api "http://127.0.0.1:$port/orders/$id" | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p')
  echo "order $id: $status"
  [ "$status" != completed ] || exit 0
  sleep 1
done
echo "error: the order is not completed after a minute; see: kubectl --namespace $namespace logs deployment/orders-processor" >&2
exit 1
