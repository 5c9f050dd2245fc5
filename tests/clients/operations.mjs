// The operations of every library, and the form of a refusal.

import { setTimeout as sleep } from "node:timers/promises";

// Both can contain several addresses, with commas: the clients are spread over them.
export const gateways = list("ORDERS_URL", "http://127.0.0.1:3000");
export const grpcAddresses = list("GRPC_ADDR", "127.0.0.1:50051");

// The credential of every request to a gateway with authentication; empty without a key.
export const authorization = process.env.ORDERS_TOKEN
  ? { Authorization: `Bearer ${process.env.ORDERS_TOKEN}` }
  : {};

function list(variable, otherwise) {
  return (process.env[variable] || otherwise).split(",").map((url) => url.replace(/\/$/, ""));
}

// The fields of an event, over every transport.
export const FIELDS = ["orderId", "sequence", "status", "previousStatus", "attempt", "reason", "errorClass", "worker", "occurredAt"];

export const QUERY = `query ($id: ID!) {
  order(id: $id) { id status sequence quantity total lineItems { item quantity price } }
}`;

export const LIST = "{ orders(first: 3) { nodes { id status } pageInfo { hasNextPage endCursor } } }";

export const MUTATION = `mutation ($input: CreateOrderInput!) {
  createOrder(input: $input) { order { id status sequence } userErrors { code field message } }
}`;

export const SUBSCRIPTION = `subscription ($orderId: ID!, $after: Int) {
  orderStatus(orderId: $orderId, after: $after) { ${FIELDS.join(" ")} }
}`;

// The input of `createOrder` and of `POST /orders`.
export const LAPTOP = { item: "Laptop", quantity: 2, price: "1299.99", maxAttempts: 3 };

// A refusal of the gateway: `errors` of a GraphQL response, a problem, or a gRPC status. Any other exception of a client is
// a failure of the connection or of the client.
export class Refusal extends Error {
  constructor(errors) {
    super(errors.map(({ message }) => message).join("; "));
    this.errors = errors;
  }

  get code() {
    return this.errors[0].extensions?.code;
  }

  // Seconds after which the request can be repeated; absent if it would be refused again.
  get retryAfter() {
    return this.errors[0].extensions?.retryAfterSeconds;
  }
}

// Maximum number of repetitions at a busy gateway.
const RETRIES = 10;

// Repeats a request after the time that the refusal states.
async function again(work) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Refusal && error.retryAfter) || tries >= RETRIES) throw error;
      await sleep(error.retryAfter * 1000);
    }
  }
}

// Returns a client that repeats requests at a busy gateway. A subscription is refused before its first event; an
// `EventSource` that reconnects is refused later, and continues after its last event.
export function patient(client) {
  const { request, subscribe, follow: watch } = client;
  return {
    ...client,
    ...(request && { request: (operation) => again(() => request(operation)) }),
    ...(subscribe && { subscribe: (operation, next) => again(() => subscribe(operation, next)) }),
    ...(watch && {
      follow(orderId, after, seen) {
        let last = after;
        return again(() => watch(orderId, last, (event) => {
          seen(event);
          last = event.sequence;
        }));
      },
    }),
  };
}

// Returns the data of a GraphQL result, or throws its refusal.
export function dataOf({ data, errors }) {
  if (errors?.length) throw new Refusal(errors);
  return data;
}

// Follows the events of an order after `after`, or from the latest one; ends with the stream.
export function follow(client, orderId, after, seen) {
  if (client.follow) return client.follow(orderId, after, seen);
  const operation = { query: SUBSCRIPTION, variables: { orderId, after } };
  return client.subscribe(operation, (data) => seen(data.orderStatus));
}

// Passes the results of an observable to `next`, which can throw, until the observable completes.
export function drained(observable, next) {
  return new Promise((resolve, reject) => {
    const subscription = observable.subscribe({
      next(result) {
        try {
          next(result);
        } catch (error) {
          reject(error);
          // After `subscribe` has returned the subscription.
          setImmediate(() => subscription?.unsubscribe());
        }
      },
      error: reject,
      complete: resolve,
    });
  });
}

// Sends a REST request with JSON; a problem is thrown as a refusal.
export function rest(base, path, body) {
  const request = body
    ? {
        method: "POST",
        headers: { "Content-Type": "application/json", ...authorization },
        body: JSON.stringify(body),
      }
    : { headers: authorization };
  return again(async () => {
    const answer = await fetch(base + path, request);
    const value = await answer.json();
    if (!answer.ok) throw problem(value, Number(answer.headers.get("retry-after")) || undefined);
    return value;
  });
}

export function problem({ code, detail, title }, retryAfterSeconds) {
  return new Refusal([{ message: detail || title, extensions: { code, retryAfterSeconds } }]);
}
