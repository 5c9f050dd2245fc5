// graphql-ws: the subprotocol `graphql-transport-ws`, for everything.

import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { authorization, dataOf, drained, Refusal } from "../operations.mjs";

export function open({ gateway }, options = {}) {
  const url = `${gateway.replace(/^http/, "ws")}/graphql`;
  return over(createClient({ url, webSocketImpl: WebSocket, connectionParams: authorization, ...options }));
}

// Also for graphql-sse, whose client has the same shape.
export function over(client) {
  const observable = (operation) => ({
    subscribe(sink) {
      // Errors of a whole operation come as an array; a lost connection as a close event.
      const error = (reason) => sink.error(Array.isArray(reason) ? new Refusal(reason) : reason);
      return { unsubscribe: client.subscribe(operation, { ...sink, error }) };
    },
  });
  return {
    async request(operation) {
      let data;
      await drained(observable(operation), (result) => (data = dataOf(result)));
      return data;
    },
    subscribe: (operation, next) => drained(observable(operation), (result) => next(dataOf(result))),
    close: () => client.dispose(),
  };
}
