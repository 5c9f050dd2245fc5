// gRPC with @grpc/grpc-js: the stream `WatchOrder`.

import { status } from "@grpc/grpc-js";
import { orderService } from "../grpc.mjs";
import { Refusal } from "../operations.mjs";

const REFUSALS = [status.NOT_FOUND, status.INVALID_ARGUMENT];

export function open({ grpc }) {
  const service = orderService(grpc);
  return {
    follow(orderId, after, seen) {
      return new Promise((resolve, reject) => {
        const stream = service.watchOrder({ orderId, afterSequence: after });
        stream.on("data", (event) => {
          try {
            // What is absent on the wire is an empty text here.
            const { previousStatus, reason } = event;
            seen({ ...event, previousStatus: previousStatus || null, reason: reason || null });
          } catch (error) {
            stream.cancel();
            reject(error);
          }
        });
        stream.on("end", resolve);
        stream.on("error", (error) => reject(REFUSALS.includes(error.code) ? refusal(error) : error));
      });
    },
    close: () => service.close(),
  };
}

function refusal({ details, metadata }) {
  return new Refusal([{ message: details, extensions: { code: metadata.get("orders-error")[0] } }]);
}
