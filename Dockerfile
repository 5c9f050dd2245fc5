# syntax=docker/dockerfile:1
# The one binary, `orders`, on a small image without a shell.
#
#   docker build -t orders .
#   docker run --rm -p 127.0.0.1:3000:3000 -v orders-data:/data -e ORDERS_INSECURE_ALLOW_ANONYMOUS=on orders
#
# That is everything in one process, which this machine can reach. The ports are not loopback ports in the container, so the
# program starts only with this variable or with keys (ORDERS_AUTH=keys, ORDERS_BOOTSTRAP_KEY_FILE=/data/admin.key).

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches hold the downloaded crates and the compiled dependencies, so that a change of the
# source compiles only the source. The binary is copied out because a cache is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package orders \
    && cp target/release/orders /usr/local/bin/orders
RUN mkdir /empty

# glibc, libgcc and the certificates of the public authorities; the same Debian as above.
FROM gcr.io/distroless/cc-debian12
COPY --from=build /usr/local/bin/orders /usr/local/bin/orders
# A new volume takes the owner of the folder that it is mounted on.
COPY --from=build --chown=10001:10001 /empty /data
COPY --from=build --chown=10001:10001 /empty /keys/admin
COPY --from=build --chown=10001:10001 /empty /keys/worker
USER 10001:10001
VOLUME /data
ENV ORDERS_HTTP_ADDR=0.0.0.0:3000 \
    ORDERS_GRPC_ADDR=0.0.0.0:50051 \
    ORDERS_DATA_DIR=/data
EXPOSE 3000 50051
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/orders"]
CMD ["dev"]
