// REST over server-sent events with an `EventSource`, as in browsers: it reconnects after the end of a stream with the id
// of its last event, until the gateway responds that there are no more.

import { EventSource } from "eventsource";
import { authorization, problem, rest } from "../operations.mjs";

export function open({ gateway }, { fetch: request = fetch } = {}) {
  // The library has no option for headers.
  const options = { fetch: (url, init) => request(url, { ...init, headers: { ...init.headers, ...authorization } }) };
  const sources = new Set();
  return {
    follow(orderId, after, seen) {
      const cursor = after === undefined ? "" : `?after=${after}`;
      const source = new EventSource(`${gateway}/orders/${orderId}/events${cursor}`, options);
      sources.add(source);
      return new Promise((resolve, reject) => {
        source.onmessage = ({ data, lastEventId }) => {
          try {
            const event = JSON.parse(data);
            if (String(event.sequence) !== lastEventId) throw new Error(`id ${lastEventId} of ${data}`);
            seen(event);
          } catch (error) {
            source.close();
            reject(error);
          }
        };
        source.onerror = ({ code, message }) => {
          if (source.readyState !== EventSource.CLOSED) return;
          sources.delete(source);
          if (code === 204) resolve();
          // An `EventSource` does not show the body of a refusal, so this requests it without a stream.
          else rest(gateway, `/orders/${orderId}/events${cursor}`).then(
            // The gateway was busy and is not busy now.
            () => reject(code === 503 ? problem({ title: message }, 1) : new Error(`${code} ${message}`)),
            reject,
          );
        };
      });
    },
    close: () => sources.forEach((source) => source.close()),
  };
}
