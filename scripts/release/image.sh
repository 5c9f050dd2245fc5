#!/usr/bin/env bash
# Makes the container image of the built programs:
#
#   scripts/release/image.sh [x86_64|aarch64…]     packages/orders-VERSION-image-amd64.tar.gz (or arm64), for `docker load`
#   scripts/release/image.sh --push NAME           pushes these images to NAME:VERSION, one name for all architectures
#
# It needs Docker 20.10 or newer, with its component buildx for the other architecture, and pulls no image.
. "$(dirname "$0")/lib.sh"
have docker || die "docker not found"
# Without its component buildx, Docker builds for the architecture of the machine only.
export DOCKER_BUILDKIT=0 buildx=
if docker buildx version >/dev/null 2>&1; then DOCKER_BUILDKIT=1 buildx=yes; fi

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
install -d -m 1777 "$root/tmp"
# A new volume takes the owner of the folder that it is mounted on.
install -d -m 755 "$context/owned/data" "$context/owned/keys/admin" "$context/owned/keys/worker"

for architecture in ${*:-$all_architectures}; do
  debian=$(debian_architecture "$architecture")
  [ -n "$buildx" ] || [ "$architecture" = "$(uname -m)" ] || die "an image for $debian needs the component buildx of Docker"
  install -D -m 755 "$(binary "$architecture")" "$context/$debian/orders"
  find "$context/root" "$context/owned" "$context/$debian" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
  docker build --quiet ${buildx:+--platform "linux/$debian"} --build-arg "TARGETARCH=$debian" --build-arg "VERSION=$version" \
    --tag "orders:$version-$debian" "$context" >/dev/null
  [ "$(docker image inspect --format '{{.Architecture}}' "orders:$version-$debian")" = "$debian" ] || die "the image is not for $debian"

  # An image of this machine's architecture is tried: it completes an order as an unprivileged user on a read-only root.
  if [ "$architecture" = "$(uname -m)" ]; then
    container=$(docker run --detach --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp \
      --volume /data --env ORDERS_INSECURE_ALLOW_ANONYMOUS=on "orders:$version-$debian")
    inside() { docker exec "$container" /usr/local/bin/orders "$@"; }
    order=$(inside create --item Laptop --quantity 2 --price 1299.99 -o id) || { docker logs "$container" >&2; exit 1; }
    inside watch "$order" >&2
    docker stop -t 30 "$container" >/dev/null
    code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
    [ "$code" = 0 ] || die "the container ended with exit code $code"
    docker rm --volumes "$container" >/dev/null
    container=
    step "the container has completed the order $order"
  fi
  docker save "orders:$version-$debian" | gzip --no-name --best >"$packages/orders-$version-image-$debian.tar.gz"
  step "$packages/orders-$version-image-$debian.tar.gz"
done
