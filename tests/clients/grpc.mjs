// The gRPC side of the example clients: a client for the orders service, and calls as promises.
//
//   GRPC_CA              file with the certificate authorities of the gateway; without it there is no TLS
//   GRPC_CERT, GRPC_KEY  files with the client certificate and its key
//   ORDERS_TOKEN         API key of a gateway with authentication

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

export const address = process.env.GRPC_ADDR || "127.0.0.1:50051";
const proto = fileURLToPath(new URL("../../proto/orders/v1/orders.proto", import.meta.url));

export function channelCredentials() {
  const read = (file) => (file ? readFileSync(file) : null);
  const { GRPC_CA, GRPC_CERT, GRPC_KEY } = process.env;
  return GRPC_CA
    ? credentials.createSsl(read(GRPC_CA), read(GRPC_KEY), read(GRPC_CERT))
    : credentials.createInsecure();
}

export function orderService(at = address) {
  // Field names in lowerCamelCase, absent fields with their defaults, 64-bit numbers as strings.
  const definition = loadSync(proto, { defaults: true, longs: String });
  const { OrderService } = loadPackageDefinition(definition).orders.v1;
  return new OrderService(at, channelCredentials());
}

// Returns the metadata of a call.
export function metadata(options) {
  const metadata = new Metadata(options);
  const key = process.env.ORDERS_TOKEN;
  if (key) metadata.set("authorization", `Bearer ${key}`);
  return metadata;
}

// Makes one call with a deadline; the call waits for a gateway that is starting.
export function call(client, method, request, deadlineMs = 10_000) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + deadlineMs };
    client[method](request, metadata({ waitForReady: true }), options, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}
