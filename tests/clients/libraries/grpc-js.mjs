// gRPC with @grpc/grpc-js: the stream `WatchOrder`.

import { metadata, orderService } from "../grpc.mjs";
import { Refusal } from "../operations.mjs";

// The metadata of gRPC with the time after which a call can be repeated.
const PUSHBACK = "grpc-retry-pushback-ms";

export function open({ grpc }) {
  const service = orderService(grpc);
  return {
    follow(orderId, after, seen) {
      return new Promise((resolve, reject) => {
        const stream = service.watchOrder({ orderId, afterSequence: after }, metadata());
        stream.on("data", (event) => {
          try {
            // An absent field is an empty string here.
            const { previousStatus, reason, errorClass, worker } = event;
            seen({ ...event, previousStatus: previousStatus || null, reason: reason || null, errorClass: errorClass || null, worker: worker || null });
          } catch (error) {
            stream.cancel();
            reject(error);
          }
        });
        stream.on("end", resolve);
        stream.on("error", (error) => reject(refusal(error) ?? error));
      });
    },
    close: () => service.close(),
  };
}

// Returns the refusal of the gateway; undefined if the connection failed.
function refusal({ details, metadata }) {
  const code = metadata.get("orders-error")[0];
  if (!code) return undefined;
  const retryAfterSeconds = Number(metadata.get(PUSHBACK)[0]) / 1000 || undefined;
  return new Refusal([{ message: details, extensions: { code, retryAfterSeconds } }]);
}
