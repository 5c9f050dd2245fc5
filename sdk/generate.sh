#!/usr/bin/env bash
# Writes what the SDKs take from proto/orders/v1/orders.proto: the messages of Python and Go, and the copy of TypeScript.
#
#   sdk/generate.sh           into sdk/
#   sdk/generate.sh FOLDER    into another folder, to compare
#
# PYTHON has grpcio-tools, which contains protoc (default: sdk/python/.venv/bin/python). Without Go its file is left out.
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-.}")
python=$(realpath -s "${PYTHON:-python/.venv/bin/python}")
proto=${PROTO:-../proto/orders/v1}

mkdir -p "$out/python/orders_client" "$out/typescript/proto" "$out/go/pb"
cp "$proto/orders.proto" "$out/typescript/proto/"
"$python" -m grpc_tools.protoc -I "orders_client=$proto" --python_out="$out/python" --pyi_out="$out/python" \
  orders_client/orders.proto
if command -v go >/dev/null; then
  "$python" -m grpc_tools.protoc -I "$proto" --plugin=protoc-gen-go="$(cd go && go tool -n protoc-gen-go)" \
    --go_out="$out/go/pb" --go_opt=paths=source_relative --go_opt=Morders.proto=orders.example/sdk/go/pb orders.proto
fi
