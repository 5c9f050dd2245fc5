// Apollo Client: queries and mutations over HTTP, subscriptions over graphql-ws.

import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { CombinedGraphQLErrors } from "@apollo/client/errors";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { createClient } from "graphql-ws";
import { OperationTypeNode } from "graphql";
import WebSocket from "ws";
import { authorization, drained, Refusal } from "../operations.mjs";

// Apollo requires the global of browsers, which Node has since version 22.
globalThis.WebSocket ??= WebSocket;

export function open({ gateway }, { persisted = false } = {}) {
  const url = `${gateway}/graphql`;
  const socket = createClient({ url: url.replace(/^http/, "ws"), webSocketImpl: WebSocket, connectionParams: authorization });
  let http = new HttpLink({ uri: url, headers: authorization });
  if (persisted) http = new PersistedQueryLink({ sha256, useGETForHashedQueries: true }).concat(http);
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(socket),
      http,
    ),
  });
  return {
    async request({ query, variables }) {
      const document = gql(query);
      const { operation } = document.definitions[0];
      try {
        const answer = operation === "mutation"
          ? client.mutate({ mutation: document, variables })
          : client.query({ query: document, variables, fetchPolicy: "network-only" });
        return (await answer).data;
      } catch (error) {
        throw refusal(error);
      }
    },
    subscribe({ query, variables }, next) {
      const results = client.subscribe({ query: gql(query), variables, fetchPolicy: "no-cache" });
      return drained(results, ({ data, error }) => {
        if (error) throw refusal(error);
        next(data);
      });
    },
    async close() {
      client.stop();
      await socket.dispose();
    },
  };
}

// Converts only GraphQL errors of the gateway; other errors do not change.
function refusal(error) {
  return CombinedGraphQLErrors.is(error) ? new Refusal(error.errors) : error;
}

function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}
