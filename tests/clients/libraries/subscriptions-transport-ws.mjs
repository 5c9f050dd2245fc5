// subscriptions-transport-ws: the older subprotocol `graphql-ws`, for everything.

import transport from "subscriptions-transport-ws";
import WebSocket from "ws";
import { authorization, dataOf, drained, Refusal } from "../operations.mjs";

// The library removes its listeners from a socket and then closes it. If the socket is not open yet, `ws` emits an error,
// which ends the program without a listener. Browsers emit none.
class Socket extends WebSocket {
  constructor(...rest) {
    super(...rest);
    this.on("error", () => {});
  }
}

export function open({ gateway }) {
  const url = `${gateway.replace(/^http/, "ws")}/graphql`;
  const client = new transport.SubscriptionClient(url, { connectionParams: authorization }, Socket);
  const connection = { isLost: false };
  connection.loss = new Promise((resolve) => client.onDisconnected(() => {
    connection.isLost = true;
    resolve();
  }));
  const observable = (operation) => ({
    subscribe(sink) {
      // This library passes only the first error of an operation.
      const error = (reason) => sink.error(reason.extensions ? new Refusal([reason]) : reason);
      return client.request(operation).subscribe({ ...sink, error });
    },
  });
  return {
    // The library does not notify its subscribers of a lost connection.
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
