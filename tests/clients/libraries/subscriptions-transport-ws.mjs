// subscriptions-transport-ws: the older subprotocol `graphql-ws`, for everything.

import transport from "subscriptions-transport-ws";
import WebSocket from "ws";
import { dataOf, drained, Refusal } from "../operations.mjs";

export function open({ gateway }, options = {}) {
  const url = `${gateway.replace(/^http/, "ws")}/graphql`;
  const client = new transport.SubscriptionClient(url, options, WebSocket);
  const observable = (operation) => ({
    subscribe(sink) {
      // This library hands on the first error of an operation, alone.
      const error = (reason) => sink.error(reason.extensions ? new Refusal([reason]) : reason);
      return client.request(operation).subscribe({ ...sink, error });
    },
  });
  return {
    client,
    async request(operation) {
      let data;
      await drained(observable(operation), (result) => (data = dataOf(result)));
      return data;
    },
    subscribe: (operation, next) => drained(observable(operation), (result) => next(dataOf(result))),
    close: () => client.close(),
  };
}
