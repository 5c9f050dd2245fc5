// What the clients of every library ask a gateway, and how an answer that is a refusal looks.

import { setTimeout as sleep } from "node:timers/promises";

// Both may name several, with commas: the clients are spread over them.
export const gateways = list("ORDERS_URL", "http://127.0.0.1:3000");
export const grpcAddresses = list("GRPC_ADDR", "127.0.0.1:50051");

function list(variable, otherwise) {
  return (process.env[variable] || otherwise).split(",").map((url) => url.replace(/\/$/, ""));
}

// Of an event, over every transport.
export const FIELDS = ["orderId", "sequence", "status", "previousStatus", "attempt", "reason", "errorClass", "occurredAt"];

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

// Of `createOrder` and of `POST /orders`.
export const LAPTOP = { item: "Laptop", quantity: 2, price: "1299.99", maxAttempts: 3 };

// The gateway said no: `errors` of a GraphQL answer, a problem, or a gRPC status. Whatever else a client
// throws is a failure of the connection, or of the client.
export class Refusal extends Error {
  constructor(errors) {
    super(errors.map(({ message }) => message).join("; "));
    this.errors = errors;
  }

  get code() {
    return this.errors[0].extensions?.code;
  }

  // Seconds after which the same may be asked again; absent when it would be refused again.
  get retryAfter() {
    return this.errors[0].extensions?.retryAfterSeconds;
  }
}

// How often a busy gateway is asked again.
const RETRIES = 10;

// Does what a refusal says: asks again after a while.
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

// A client that asks a busy gateway again. A subscription is refused before its first event.
export function patient(client) {
  const { request, subscribe, follow: watch } = client;
  return {
    ...client,
    ...(request && { request: (operation) => again(() => request(operation)) }),
    ...(subscribe && { subscribe: (operation, next) => again(() => subscribe(operation, next)) }),
    ...(watch && { follow: (orderId, after, seen) => again(() => watch(orderId, after, seen)) }),
  };
}

// The data of a GraphQL result, or its refusal.
export function dataOf({ data, errors }) {
  if (errors?.length) throw new Refusal(errors);
  return data;
}

// The next events of an order behind `after`, or from the latest one on; ends with the stream.
export function follow(client, orderId, after, seen) {
  if (client.follow) return client.follow(orderId, after, seen);
  const operation = { query: SUBSCRIPTION, variables: { orderId, after } };
  return client.subscribe(operation, (data) => seen(data.orderStatus));
}

// The results of an observable, as all of these libraries have one, until it ends. `next` takes a result
// and may throw.
export function drained(observable, next) {
  return new Promise((resolve, reject) => {
    const subscription = observable.subscribe({
      next(result) {
        try {
          next(result);
        } catch (error) {
          reject(error);
          // Not before `subscribe` has returned it.
          setImmediate(() => subscription?.unsubscribe());
        }
      },
      error: reject,
      complete: resolve,
    });
  });
}

// JSON over REST; a problem is a refusal.
export function rest(base, path, body) {
  const request = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
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
