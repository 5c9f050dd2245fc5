// The gRPC side of the example clients: a client for the orders service, and calls as promises.

import { fileURLToPath } from "node:url";
import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

export const address = process.env.GRPC_ADDR || "127.0.0.1:50051";
const proto = fileURLToPath(new URL("../../proto/orders/v1/orders.proto", import.meta.url));

export function orderService(at = address) {
  // Field names in lowerCamelCase, absent fields with their defaults, 64-bit numbers as strings.
  const definition = loadSync(proto, { defaults: true, longs: String });
  const { OrderService } = loadPackageDefinition(definition).orders.v1;
  return new OrderService(at, credentials.createInsecure());
}

// Makes one call with a deadline; the call waits for a gateway that is starting.
export function call(client, method, request, deadlineMs = 10_000) {
  return new Promise((resolve, reject) => {
    const metadata = new Metadata({ waitForReady: true });
    const options = { deadline: Date.now() + deadlineMs };
    client[method](request, metadata, options, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}
