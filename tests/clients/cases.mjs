// The checks of each library, besides following orders to their final status.

import assert from "node:assert/strict";
import { follow, LAPTOP, LIST, MUTATION, QUERY, Refusal, SUBSCRIPTION } from "./operations.mjs";

const UNKNOWN = "01a205a9-3e31-7b03-b046-4e2634bec0b0";

// Checks for a refusal with this code, before any event.
async function refused(work, code, events = []) {
  const error = await work.then(() => assert.fail(`ended without an error, expected ${code}`), (error) => error);
  if (!(error instanceof Refusal)) throw error;
  assert.equal(error.code, code, error.message);
  assert.deepEqual(events, [], "no event comes before a refusal");
}

function watched(client, orderId, after) {
  const events = [];
  return { events, end: follow(client, orderId, after, (event) => events.push(event)) };
}

// Checks of every library.
export const watching = {
  async "an order that does not exist is an error at once, not an empty stream"(client, { codes: [notFound] }) {
    const { end, events } = watched(client, UNKNOWN, 0);
    await refused(end, notFound, events);
    const latest = watched(client, UNKNOWN);
    await refused(latest.end, notFound, latest.events);
  },

  async "an invalid id is an error"(client, { codes: [, invalid] }) {
    const { end, events } = watched(client, "nonsense", 0);
    await refused(end, invalid, events);
  },

  async "no event follows the last one of a final order"(client, { done, empty }) {
    if (!empty) return;
    const { end, events } = watched(client, done.id, done.sequence);
    await end;
    assert.deepEqual(events, []);
  },

  async "a cursor in the middle returns later events"(client, { done }) {
    const { end, events } = watched(client, done.id, 1);
    await end;
    assert.deepEqual(events.map(({ sequence }) => sequence), range(2, done.sequence));
  },

  async "without a cursor a final order shows its last event"(client, { done, latest }) {
    const { end, events } = watched(client, done.id);
    await end;
    const first = latest ? done.sequence : 1;
    assert.deepEqual(events.map(({ sequence }) => sequence), range(first, done.sequence));
  },
};

// Checks of the GraphQL libraries.
export const graphql = {
  async "a mutation creates an order that a query finds"(client) {
    const { createOrder } = await client.request({ query: MUTATION, variables: { input: LAPTOP } });
    assert.deepEqual(createOrder.userErrors, []);
    assert.equal(createOrder.order.status, "PENDING");
    assert.equal(createOrder.order.sequence, 1);
    const { id } = createOrder.order;
    const { order } = await client.request({ query: QUERY, variables: { id } });
    assert.equal(order.id, id);
    assert.equal(order.total, "2599.98");
    assert.deepEqual(order.lineItems.map(({ item, quantity, price }) => ({ item, quantity, price })), [
      { item: "Laptop", quantity: 2, price: "1299.99" },
    ]);
    const { orders } = await client.request({ query: LIST });
    assert.equal(orders.nodes.length, 3);
    const { end, events } = watched(client, id, 0);
    await end;
    assert.deepEqual(events.map(({ sequence }) => sequence), range(1, events.length));
  },

  async "an order that does not exist is null in a query"(client) {
    const { order } = await client.request({ query: QUERY, variables: { id: UNKNOWN } });
    assert.equal(order, null);
  },

  async "an invalid order is data, not an error"(client) {
    const input = { ...LAPTOP, quantity: 0 };
    const { createOrder } = await client.request({ query: MUTATION, variables: { input } });
    assert.equal(createOrder.order, null);
    const [{ code, field }] = createOrder.userErrors;
    assert.equal(code, "invalid_order");
    assert.deepEqual(field, ["input", "quantity"]);
  },

  async "a query that is not valid is an error result"(client) {
    await refused(client.request({ query: "{ nope }" }), "GRAPHQL_VALIDATION_FAILED");
  },

  async "a mutation that is not valid is an error result"(client) {
    await refused(client.request({ query: "mutation { nope }" }), "GRAPHQL_VALIDATION_FAILED");
  },

  async "a subscription that is not valid is an error result"(client) {
    const query = "subscription { orderStatus { nope } }";
    await refused(client.subscribe({ query }, () => {}), "GRAPHQL_VALIDATION_FAILED");
  },

  async "a variable that is missing is an error result"(client) {
    const { code } = await client.request({ query: MUTATION, variables: {} }).then(assert.fail, (error) => error);
    assert.ok(["invalid_input", "GRAPHQL_VALIDATION_FAILED"].includes(code), `code ${code}`);
  },

  async "a cursor below zero is an error"(client, { done }) {
    const { end, events } = watched(client, done.id, -1);
    await refused(end, "invalid_input", events);
  },

  async "a field that fails is an error result with its path"(client) {
    const error = await client.subscribe(
      { query: SUBSCRIPTION, variables: { orderId: UNKNOWN, after: 0 } },
      () => assert.fail("an event of an order that does not exist"),
    ).then(assert.fail, (error) => error);
    assert.deepEqual(error.errors?.[0].path, ["orderStatus"]);
  },
};

function range(first, last) {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
