#!/usr/bin/env bash
# Makes the container image of the built programs:
#
#   scripts/release/image.sh [x86_64|aarch64…]     packages/orders-VERSION-image-amd64.tar.gz (or arm64), for `docker load`
#   scripts/release/image.sh --push NAME           pushes these images to NAME:VERSION, one name for all architectures
#
# It needs Docker 20.10 or newer, and pulls no image.
. "$(dirname "$0")/lib.sh"
have docker || die "docker not found"
export DOCKER_BUILDKIT=1

if [ "${1:-}" = --push ]; then
  name=${2:?the name of the image with its registry}
  images=()
  for architecture in $all_architectures; do
    image=$name:$version-$(debian_architecture "$architecture")
    docker load --quiet --input "$packages/orders-$version-image-$(debian_architecture "$architecture").tar.gz"
    docker tag "orders:$version-$(debian_architecture "$architecture")" "$image"
    docker push --quiet "$image"
    images+=("$image")
  done
  docker manifest create --amend "$name:$version" "${images[@]}"
  docker manifest push --purge "$name:$version"
  exit
fi
case ${1:-} in -*) usage ;; esac

authorities=${ORDERS_CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
[ -s "$authorities" ] || die "$authorities is missing (Debian: ca-certificates)"
context=$(mktemp -d)
container=
trap '[ -z "$container" ] || docker rm --force "$container" >/dev/null; rm -rf "$context"' EXIT
cp ops/image/Dockerfile "$context"
root=$context/root
install -D -m 644 "$authorities" "$root/etc/ssl/certs/ca-certificates.crt"
echo 'orders:x:10001:10001::/data:/sbin/nologin' >"$root/etc/passwd"
echo 'orders:x:10001:' >"$root/etc/group"
# A new volume takes the owner of the folder that it is mounted on.
install -d -m 755 "$root/data" "$root/keys/admin" "$root/keys/worker"
install -d -m 1777 "$root/tmp"
chown -R 10001:10001 "$root/data" "$root/keys/admin" "$root/keys/worker" 2>/dev/null || die "image.sh needs root, for the owner of /data"

for architecture in ${*:-$all_architectures}; do
  debian=$(debian_architecture "$architecture")
  install -D -m 755 "$(binary "$architecture")" "$context/$debian/orders"
  find "$context/root" "$context/$debian" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
  docker build --quiet --platform "linux/$debian" --build-arg "TARGETARCH=$debian" --build-arg "VERSION=$version" \
    --tag "orders:$version-$debian" "$context" >/dev/null
  [ "$(docker image inspect --format '{{.Architecture}}' "orders:$version-$debian")" = "$debian" ] || die "the image is not for $debian"

  # An image of this machine's architecture is tried: it completes an order as an unprivileged user on a read-only root.
  if [ "$architecture" = "$(uname -m)" ]; then
    container=$(docker run --detach --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp \
      --volume /data --env ORDERS_INSECURE_ALLOW_ANONYMOUS=on "orders:$version-$debian")
    inside() { docker exec "$container" /usr/local/bin/orders "$@"; }
    order=$(inside create --item Laptop --quantity 2 --price 1299.99 -o id) || { docker logs "$container" >&2; exit 1; }
    inside watch "$order" >&2
    [ "$(docker stop --time 30 "$container")" = "$container" ]
    code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
    [ "$code" = 0 ] || die "the container ended with exit code $code"
    docker rm --volumes "$container" >/dev/null
    container=
    step "the container has completed the order $order"
  fi
  docker save "orders:$version-$debian" | gzip --no-name --best >"$packages/orders-$version-image-$debian.tar.gz"
  step "$packages/orders-$version-image-$debian.tar.gz"
done
