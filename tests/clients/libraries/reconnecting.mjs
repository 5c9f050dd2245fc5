// The libraries that reconnect after a lost connection, configured to do so without limit and soon. The default pauses
// are a second and more, to protect a gateway.

import { setTimeout as sleep } from "node:timers/promises";
import * as eventsource from "./eventsource.mjs";
import * as graphqlSse from "./graphql-sse.mjs";
import * as graphqlWs from "./graphql-ws.mjs";
import * as legacy from "./subscriptions-transport-ws.mjs";

const SOON_MS = 20;
const soon = () => sleep(SOON_MS);

export const reconnecting = {
  "graphql-ws": {
    graphql: true,
    open: (addresses) => graphqlWs.open(addresses, {
      retryAttempts: Infinity,
      retryWait: soon,
      shouldRetry: () => true,
    }),
  },
  "subscriptions-transport-ws": {
    graphql: true,
    open: reconnectingLegacy,
  },
  "graphql-sse": {
    graphql: true,
    open: (addresses) => graphqlSse.open(addresses, { retryAttempts: Infinity, retry: soon }),
  },
  eventsource: {
    graphql: false,
    open: (addresses) => eventsource.open(addresses, { fetch: fetchWithSoonerRetry }),
  },
};

// The library can reconnect, but it loses subscriptions that start between a loss and the new connection. So this creates
// a new client after each loss.
function reconnectingLegacy(addresses) {
  let client = legacy.open(addresses);
  return {
    async subscribe(operation, next) {
      for (;;) {
        // A subscription would reconnect the old client.
        if (client.connection.isLost) client = legacy.open(addresses);
        const { connection } = client;
        const ended = client.subscribe(operation, next).then(() => true);
        if (await Promise.race([ended, connection.loss])) return;
        await soon();
      }
    },
    close: () => client.close(),
  };
}

// An `EventSource` waits for the time that the stream states, and has no setting for it.
async function fetchWithSoonerRetry(url, options) {
  const answer = await fetch(url, options);
  if (!answer.body) return answer;
  const rewrite = new TransformStream({
    start() {
      this.decoder = new TextDecoder();
    },
    transform(chunk, controller) {
      const text = this.decoder.decode(chunk, { stream: true });
      controller.enqueue(new TextEncoder().encode(text.replace(/^retry: \d+$/m, `retry: ${SOON_MS}`)));
    },
  });
  return new Response(answer.body.pipeThrough(rewrite), answer);
}
