// Follows one order over GraphQL subscriptions with the graphql-ws client: all its events from the
// first one on, until the server ends the stream after the final status.
//
//   node watch.mjs ORDER_ID
//
//   GRAPHQL_URL   ws://127.0.0.1:3000/graphql

import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [orderId] = process.argv.slice(2);
if (!orderId) {
  console.error("usage: node watch.mjs ORDER_ID");
  process.exit(2);
}
const client = createClient({
  url: process.env.GRAPHQL_URL || "ws://127.0.0.1:3000/graphql",
  webSocketImpl: WebSocket,
});
const events = client.iterate({
  query: `subscription ($orderId: ID!) {
    orderStatus(orderId: $orderId, after: 0) { sequence status attempt reason occurredAt }
  }`,
  variables: { orderId },
});
try {
  for await (const { data, errors } of events) {
    if (errors) throw errors;
    const { sequence, status, occurredAt } = data.orderStatus;
    console.log(`${sequence} ${status} ${occurredAt}`);
  }
} catch (error) {
  const [refusal] = Array.isArray(error) ? error : [error];
  console.error(`error: ${refusal.message || refusal.reason || refusal.error?.message || refusal}`);
  process.exitCode = 1;
}
await client.dispose();
