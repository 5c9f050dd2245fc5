// The rules for the events of an order, over every interface.

import assert from "node:assert/strict";
import { FIELDS } from "./operations.mjs";

const FINAL = ["completed", "failed", "cancelled"];
const STATUSES = ["pending", "processing", ...FINAL];

export const isFinal = (status) => FINAL.includes(status);

// Returns an event in the form of REST. GraphQL differs only in the case of the statuses.
export function asRest(event, graphql) {
  assert.deepEqual(named(event), [...FIELDS].sort(), `the fields of ${JSON.stringify(event)}`);
  const word = (status) => {
    if (status === null) return null;
    const lower = graphql ? status.toLowerCase() : status;
    assert.equal(status, graphql ? lower.toUpperCase() : status.toLowerCase(), "the case of a status");
    assert.ok(STATUSES.includes(lower), `${status} is a status`);
    return lower;
  };
  const rest = Object.fromEntries(FIELDS.map((name) => [name, event[name]]));
  return { ...rest, status: word(event.status), previousStatus: word(event.previousStatus) };
}

// Apollo and urql add the type of each object.
function named(event) {
  return Object.keys(event).filter((name) => name !== "__typename").sort();
}

// Checks the timeline of an order from event `first`: each event once, in order, up to a final status.
export function checkTimeline(orderId, events, first = 1) {
  const what = `order ${orderId}`;
  const sequences = events.map(({ sequence }) => sequence);
  assert.deepEqual(sequences, events.map((_, i) => first + i), `${what}: sequences ${sequences}`);
  assert.ok(events.length > 0, `${what} has events`);
  events.forEach((event, i) => {
    assert.equal(event.orderId, orderId);
    assert.match(event.occurredAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    if (event.sequence === 1) assert.equal(event.previousStatus, null, `${what}: nothing is before event 1`);
    else if (i > 0) assert.equal(event.previousStatus, events[i - 1].status, `${what}: event ${event.sequence}`);
    assert.equal(isFinal(event.status), i === events.length - 1, `${what}: the last event alone is final`);
  });
}

// Compares a timeline, or its end, with the complete one.
export function checkSame(orderId, events, whole) {
  const from = events.length ? events[0].sequence - 1 : whole.length;
  assert.deepEqual(events, whole.slice(from), `order ${orderId}: the same as the list of REST`);
}
