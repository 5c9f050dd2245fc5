// subscriptions-transport-ws: the older subprotocol `graphql-ws`, for everything.

import transport from "subscriptions-transport-ws";
import WebSocket from "ws";
import { dataOf, drained, Refusal } from "../operations.mjs";

// The library lets go of a socket and then closes it. Of a socket that is not yet open `ws` calls that an
// error, which without a listener ends the program. In browsers there is no such rule.
class Socket extends WebSocket {
  constructor(...rest) {
    super(...rest);
    this.on("error", () => {});
  }
}

export function open({ gateway }) {
  const url = `${gateway.replace(/^http/, "ws")}/graphql`;
  const client = new transport.SubscriptionClient(url, {}, Socket);
  const connection = { isLost: false };
  connection.loss = new Promise((resolve) => client.onDisconnected(() => {
    connection.isLost = true;
    resolve();
  }));
  const observable = (operation) => ({
    subscribe(sink) {
      // This library hands on the first error of an operation, alone.
      const error = (reason) => sink.error(reason.extensions ? new Refusal([reason]) : reason);
      return client.request(operation).subscribe({ ...sink, error });
    },
  });
  return {
    // The library does not tell its subscribers when the connection is gone.
    connection,
    async request(operation) {
      let data;
      await drained(observable(operation), (result) => (data = dataOf(result)));
      return data;
    },
    subscribe: (operation, next) => drained(observable(operation), (result) => next(dataOf(result))),
    close: () => client.close(),
  };
}
