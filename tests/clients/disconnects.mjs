// Watchers whose connections are cut repeatedly while orders are created. Each continues after its last event with the
// reconnect of its library. At the end every watcher must have received each event of each order once, in order, and
// equal to the list of REST.
//
//   node disconnects.mjs [--cuts 50] [--watchers 2] [--in-flight 16] [--deadline SECONDS] [LIBRARY…]
//
// Prints `cuts N` when each watcher has been cut N times, then the results and `gaps=0 duplicates=0 reordered=0`. Ends
// with status 1 if one of the three is not 0, a timeline is wrong, or the deadline (150) is exceeded.
//
//   ORDERS_URL   http://127.0.0.1:3000   several with commas: watchers use the first one, orders are
//                                        created over each in rotation, the last one has the final state

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { reconnecting } from "./libraries/reconnecting.mjs";
import { follow, gateways, LAPTOP, rest, SUBSCRIPTION } from "./operations.mjs";
import { CutProxy, KINDS } from "./proxy.mjs";
import { asRest, checkSame, checkTimeline } from "./timeline.mjs";

const { values: args, positionals } = parseArgs({
  options: {
    cuts: { type: "string", default: "50" },
    watchers: { type: "string", default: "2" },
    "in-flight": { type: "string", default: "16" },
    deadline: { type: "string", default: "150" },
  },
  allowPositionals: true,
});
const [wanted, each, inFlight, deadlineSeconds] = ["cuts", "watchers", "in-flight", "deadline"].map((name) => {
  const text = args[name];
  if (!/^[1-9]\d*$/.test(text)) usage(`--${name} takes a whole number from 1 on, not '${text}'`);
  return Number(text);
});
const names = positionals.length ? positionals : Object.keys(reconnecting);
const unknown = names.find((name) => !reconnecting[name]);
if (unknown) usage(`there is no '${unknown}'; there are ${Object.keys(reconnecting).join(", ")}`);

function usage(problem) {
  console.error(`error: ${problem}`);
  process.exit(2);
}

const figures = { gaps: 0, duplicates: 0, reordered: 0 };
const wrong = [];

// The events of one order at one watcher. It counts gaps, duplicates and reordered events by their numbers.
class Seen {
  events = [];
  #numbers = new Set();
  #last = 0;

  add(event) {
    const { sequence } = event;
    this.events.push(event);
    if (this.#numbers.has(sequence)) figures.duplicates += 1;
    else if (sequence < this.#last) figures.reordered += 1;
    else figures.gaps += sequence - this.#last - 1;
    this.#numbers.add(sequence);
    this.#last = Math.max(this.#last, sequence);
  }

  // Counts the events that are missing after its last one.
  end(whole) {
    figures.gaps += whole.filter(({ sequence }) => sequence > this.#last).length;
  }
}

class Watcher {
  seen = new Map();
  cuts = 0;
  kinds = Object.fromEntries(KINDS.map((kind) => [kind, 0]));

  constructor(name) {
    this.name = name;
    this.library = reconnecting[name];
    this.proxy = new CutProxy();
  }

  async start() {
    this.client = this.library.open({ gateway: await this.proxy.listen(gateways[0]) });
  }

  // Follows an order to its final status, independent of the connection.
  async follow(orderId) {
    const seen = new Seen();
    this.seen.set(orderId, seen);
    // Over GraphQL the cursor is a variable, which the libraries send with each subscribe.
    const variables = { orderId, after: 0 };
    const next = (event) => {
      seen.add(asRest(event, this.library.graphql));
      variables.after = event.sequence;
    };
    if (!this.library.graphql) return follow(this.client, orderId, 0, next);
    await this.client.subscribe({ query: SUBSCRIPTION, variables }, (data) => next(data.orderStatus));
  }

  async isCut() {
    while (this.cuts < wanted) {
      await this.proxy.live();
      await sleep(Math.random() * 60);
      this.kinds[await this.proxy.cut(KINDS[this.cuts % KINDS.length])] += 1;
      this.cuts += 1;
    }
  }
}

const watchers = names.flatMap((name) => Array.from({ length: each }, () => new Watcher(name)));
await Promise.all(watchers.map((watcher) => watcher.start()));
const leastCuts = () => Math.min(...watchers.map(({ cuts }) => cuts));
const orders = [];

// Creates and follows orders, one after the other, until there were enough cuts.
async function lane() {
  while (leastCuts() < wanted) {
    const gateway = gateways[orders.length % gateways.length];
    const { id } = await rest(gateway, "/orders", LAPTOP);
    orders.push(id);
    await Promise.all(watchers.map((watcher) => watcher.follow(id)));
  }
}

async function printProgress() {
  for (let printed = 0; printed < wanted; await sleep(20)) {
    while (printed < leastCuts()) console.log(`cuts ${(printed += 1)}`);
  }
}

async function runAll() {
  const lanes = Array.from({ length: inFlight }, lane);
  await Promise.all([...lanes, ...watchers.map((watcher) => watcher.isCut()), printProgress()]);
}

function compare(id, whole) {
  checkTimeline(id, whole);
  for (const { name, seen } of watchers) {
    const { events } = seen.get(id);
    seen.get(id).end(whole);
    try {
      checkTimeline(id, events);
      checkSame(id, events, whole);
    } catch (error) {
      wrong.push(`${name}: ${error.message}`);
    }
  }
}

let timelines = [];
try {
  const late = sleep(deadlineSeconds * 1_000, undefined, { ref: false }).then(() => {
    throw new Error(`not done after ${deadlineSeconds} s: ${watchers.map(({ name, cuts }) => `${name} ${cuts}`)}`);
  });
  await Promise.race([runAll(), late]);
} catch (error) {
  // The number of subscriptions at the gateway shows which side causes a stream that does not end.
  const metrics = await fetch(`${gateways[0]}/metrics`).then((answer) => answer.text(), () => "");
  wrong.push(...metrics.split("\n").filter((line) => /^(orders_graphql_subscriptions|orders_subscribed) /.test(line)));
  wrong.push(error.cause?.message || error.message || error.reason || JSON.stringify(error));
}
try {
  timelines = await Promise.all(orders.map((id) => rest(gateways.at(-1), `/orders/${id}/events`)));
  orders.forEach((id, i) => compare(id, timelines[i]));
  assert.ok(orders.length > 0, "orders were created");
} catch (error) {
  wrong.push(error.message);
}

for (const { name, cuts, kinds, proxy, seen } of watchers) {
  const events = [...seen.values()].reduce((sum, { events }) => sum + events.length, 0);
  const detail = KINDS.map((kind) => `${kinds[kind]} ${kind}`).join(", ");
  console.log(`${name}: ${cuts} cuts (${detail}), ${proxy.connections} connections, ${proxy.open} open, ${events} events`);
}
const lengths = timelines.map(({ length }) => length);
console.log([
  `watchers=${watchers.length}`,
  `orders=${orders.length}`,
  `events=${lengths.reduce((sum, length) => sum + length, 0)}`,
  `least_cuts=${leastCuts()}`,
  `retried=${lengths.filter((length) => length > 3).length}`,
  `longest=${Math.max(0, ...lengths)}`,
].join(" "));
console.log(Object.entries(figures).map(([name, count]) => `${name}=${count}`).join(" "));
wrong.slice(0, 20).forEach((what) => console.error(`FAILED ${what}`));
const bad = wrong.length || leastCuts() < wanted || Object.values(figures).some((count) => count > 0);
// Open streams would keep the program running.
process.exit(bad ? 1 : 0);
