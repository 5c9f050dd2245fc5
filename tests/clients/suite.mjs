// Runs every client library against running gateways: creates orders, follows them with all libraries at once, and
// compares the events. Prints a line for each library; ends with status 1 and the differences if there are any.
//
//   node suite.mjs [--orders N] [LIBRARY…]
//
//   ORDERS_URL   http://127.0.0.1:3000    several with commas: the libraries are spread over them
//   GRPC_ADDR    127.0.0.1:50051          the same
//   ORDERS_TOKEN API key with the scopes of the role operator, for gateways with authentication

import { parseArgs } from "node:util";
import { graphql as graphqlChecks, watching } from "./cases.mjs";
import { libraries } from "./libraries/index.mjs";
import { follow, gateways, grpcAddresses, LAPTOP, patient, rest } from "./operations.mjs";
import { asRest, checkSame, checkTimeline, isFinal } from "./timeline.mjs";

const DEADLINE_MS = 45_000;
const { values: args, positionals } = parseArgs({
  options: { orders: { type: "string", default: "12" } },
  allowPositionals: true,
});
const count = Number(args.orders);
if (!Number.isInteger(count) || count < 1) throw new Error(`--orders takes a number from 1 on, not ${args.orders}`);
const names = positionals.length ? positionals : Object.keys(libraries);
const failures = [];

// Runs one check, and records a failure with the name of the library.
async function check(name, what, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    const place = error?.stack?.split("\n").find((line) => line.includes(".mjs:"))?.trim() ?? "";
    failures.push(`${name}: ${what}: ${error?.message || error?.reason || JSON.stringify(error)} ${place}`);
  } finally {
    clearTimeout(timer);
  }
}

function create(i, more = {}) {
  return rest(gateways[i % gateways.length], "/orders", { ...LAPTOP, ...more });
}

// Follows one order from its first event, and returns the events in the form of REST.
async function timeline(library, client, orderId, onFirst = () => {}) {
  const events = [];
  await follow(client, orderId, 0, (event) => {
    events.push(asRest(event, library.graphql));
    if (events.length === 1) onFirst();
  });
  checkTimeline(orderId, events);
  return events;
}

const clients = names.map((name, i) => {
  const library = libraries[name];
  if (!library) throw new Error(`there is no library ${name}; there are ${Object.keys(libraries).join(", ")}`);
  const gateway = gateways[i % gateways.length];
  const grpc = grpcAddresses[i % grpcAddresses.length];
  return { name, library, client: patient(library.open({ gateway, grpc })), seen: new Map() };
});

// This order is scheduled, so every library is subscribed when it is cancelled.
const scheduled = await create(0, { processAfter: "2100-01-01T00:00:00Z" });
const orders = await Promise.all(Array.from({ length: count }, (_, i) => create(i)));
let waiting = clients.length;
const cancelled = { reason: "no longer wanted" };
const onSubscribed = () => {
  waiting -= 1;
  if (waiting > 0) return;
  const path = `/orders/${scheduled.id}/cancel`;
  check("rest", "cancels", () => rest(gateways.at(-1), path, cancelled));
};
await Promise.all(clients.flatMap(({ name, library, client, seen }) => [
  check(name, "an order that is cancelled while it is watched", async () => {
    seen.set(scheduled.id, await timeline(library, client, scheduled.id, onSubscribed));
  }),
  ...orders.map(({ id }) => check(name, `follows order ${id}`, async () => {
    seen.set(id, await timeline(library, client, id));
  })),
]));

// All libraries must have the same events as the list of REST afterwards.
const whole = new Map();
await check("rest", "the timelines", async () => {
  for (const { id } of [scheduled, ...orders]) {
    const events = await rest(gateways[0], `/orders/${id}/events`);
    checkTimeline(id, events);
    whole.set(id, events);
  }
  const { status, reason } = whole.get(scheduled.id).at(-1);
  if (status !== "cancelled" || reason !== cancelled.reason) throw new Error(`${scheduled.id} is ${status}: ${reason}`);
});
const done = await rest(gateways[0], `/orders/${orders[0].id}`);
if (!isFinal(done.status)) failures.push(`rest: order ${done.id} is ${done.status} after its end`);
await Promise.all(clients.map(async ({ name, library, client, seen }) => {
  for (const [id, events] of whole) {
    await check(name, "the same events", async () => checkSame(id, seen.get(id) ?? [], events));
  }
  const checks = Object.entries({ ...watching, ...(library.graphql && graphqlChecks) });
  await Promise.all(checks.map(([what, work]) => check(name, what, () => work(client, { ...library, done }))));
  await check(name, "closes", async () => client.close());
  const events = [...seen.values()].reduce((sum, { length }) => sum + length, 0);
  console.log(`${name}: ${checks.length} checks, ${seen.size} orders, ${events} events`);
}));

const longest = Math.max(...[...whole.values()].map(({ length }) => length));
console.log(`longest timeline: ${longest} events`);
failures.forEach((failure) => console.error(`FAILED ${failure}`));
console.log(failures.length ? `${failures.length} failures` : "all clients agree");
process.exit(failures.length ? 1 : 0);
