// The documents that this page sends to the public GraphQL API, and how a query or mutation is sent.

import { at } from './root.js';

const url = new URL(at('graphql'));

/** The websocket address of the same endpoint. */
export const socketUrl = () => Object.assign(new URL(url), { protocol: url.protocol.replace('http', 'ws') }).href;

// Every field counts for each order of a page, and the server has a limit for that: ask for no more than is shown.
const ORDER = `
  id status sequence attempt failures maxAttempts reason errorClass total currency quantity customer externalReference
  priority processAfter waitsFor nextAttemptAt
  createdAt lineItems { item quantity price }`;
const EVENT = 'orderId status previousStatus sequence attempt reason errorClass worker occurredAt';
const PAYLOAD = `{ order { ${ORDER} } userErrors { message field } }`;

/** The most orders that one `ORDERS` may ask for. */
export const PAGE = 50;

export const ORDERS = `query Orders($first: Int, $after: String) {
  orders(first: $first, after: $after) { nodes { ${ORDER} } pageInfo { hasNextPage endCursor } }
}`;
export const ONE = `query Order($id: ID!) { order(id: $id) { ${ORDER} } }`;
export const CREATE = `mutation Create($input: CreateOrderInput!) { payload: createOrder(input: $input) ${PAYLOAD} }`;
export const CANCEL = `mutation Cancel($input: CancelOrderInput!) { payload: cancelOrder(input: $input) ${PAYLOAD} }`;
export const REDRIVE = `mutation Redrive($input: RedriveOrderInput!) { payload: redriveOrder(input: $input) ${PAYLOAD} }`;
export const CREATE_LINK = `mutation Link($id: ID!) {
  payload: createTrackingLink(input: { orderId: $id }) { trackingLink { token } userErrors { message } }
}`;
const QUEUE_STATE = `{
  paused pausedUntil pausedBy workers
  counts { pending processing completed failed cancelled limit countedAt }
}`;
export const QUEUE = `query Queue { queue ${QUEUE_STATE} }`;
export const RESUME = `mutation Resume { payload: resumeQueue { queue ${QUEUE_STATE} } }`;
export const FEED = `subscription Feed {
  orderEvents { ... on OrderStatusEvent { ${EVENT} } ... on OrderFeedLag { missed } }
}`;
export const TIMELINE = `subscription Timeline($id: ID!, $after: Int) {
  orderStatus(orderId: $id, after: $after) { ${EVENT} progress { percent note } order { ${ORDER} } }
}`;

let unauthenticated = () => {};

/** `callback` is called when the server asks for a credential. */
export function onUnauthenticated(callback) { unauthenticated = callback; }

/** The server answered, and the answer is a refusal of the request. */
export class Refused extends Error {
  constructor({ message, extensions }) {
    super(message);
    this.code = extensions?.code;
  }
}

/**
 * Sends a query or a mutation and returns its `data`. Throws `Refused` with the server's words, or
 * another error when there was no answer: then it is unknown whether a mutation happened.
 */
export async function request(query, variables) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json, application/json' },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(15_000),
  });
  const answer = await response.json();
  if (response.status === 401) unauthenticated();
  if (answer.errors) throw new Refused(answer.errors[0]);
  return answer.data;
}

/** The sentences of a refused mutation by the name of the form's field; those of no field are under `''`. */
export function byField(userErrors) {
  const errors = {};
  for (const { field, message } of userErrors) errors[field?.at(-1) ?? ''] ??= message;
  return errors;
}
