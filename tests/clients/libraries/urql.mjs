// urql: queries and mutations over HTTP, subscriptions over graphql-ws, or over server-sent events.

import { cacheExchange, Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { parse } from "graphql";
import { createClient } from "graphql-ws";
import { onEnd, pipe, subscribe } from "wonka";
import WebSocket from "ws";
import { authorization, Refusal } from "../operations.mjs";

export function open({ gateway }, { fetchSubscriptions = false } = {}) {
  const url = `${gateway}/graphql`;
  const socket = createClient({ url: url.replace(/^http/, "ws"), webSocketImpl: WebSocket, connectionParams: authorization });
  const overSocket = subscriptionExchange({
    forwardSubscription: ({ query = "", variables }) => ({
      subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
    }),
  });
  const exchanges = [cacheExchange, ...(fetchSubscriptions ? [] : [overSocket]), fetchExchange];
  const client = new Client({ url, exchanges, fetchSubscriptions, fetchOptions: { headers: authorization } });
  return {
    async request({ query, variables }) {
      const { operation } = parse(query).definitions[0];
      const result = operation === "mutation"
        ? client.mutation(query, variables)
        : client.query(query, variables, { requestPolicy: "network-only" });
      return dataOf(await result);
    },
    subscribe({ query, variables }, next) {
      return new Promise((resolve, reject) => {
        const { unsubscribe } = pipe(
          client.subscription(query, variables),
          onEnd(resolve),
          subscribe((result) => {
            try {
              const data = dataOf(result);
              // At the end urql repeats the last result with `hasNext` false.
              if (result.hasNext) next(data);
            } catch (error) {
              reject(error);
              setImmediate(() => unsubscribe());
            }
          }),
        );
      });
    },
    close: () => socket.dispose(),
  };
}

// GraphQL errors of the gateway are a refusal, all other errors a failure.
function dataOf({ data, error }) {
  if (!error) return data;
  throw error.networkError ?? new Refusal(error.graphQLErrors);
}
