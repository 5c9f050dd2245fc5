// Watchers whose connections are cut again and again while orders flow. Each goes on after the last event
// that it saw, by the means of its library. At the end every watcher must have seen each event of each
// order once, in order, and the same as the list of REST has.
//
//   node disconnects.mjs [--cuts 50] [--watchers 2] [--in-flight 16] [--deadline SECONDS] [LIBRARY…]
//
// Prints `cuts N` whenever each watcher has been cut N times, then the figures and
// `gaps=0 duplicates=0 reordered=0`. Ends with status 1 when one of the three is not 0, a timeline is wrong,
// or not everything ended within the deadline (150).
//
//   ORDERS_URL   http://127.0.0.1:3000   several with commas: all are watched over the first one, orders
//                                        are created over each in turn, the last one has the final say

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

// What one watcher has seen of one order. Only the numbers count here, so that a fault has its name.
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

  // What it should have seen behind its last event.
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

  // Follows an order to its end, whatever becomes of the connection.
  async follow(orderId) {
    const seen = new Seen();
    this.seen.set(orderId, seen);
    // Over GraphQL the cursor is a variable, which the libraries send again with each subscribe.
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

// One order after the other, until there have been enough cuts.
async function lane() {
  while (leastCuts() < wanted) {
    const gateway = gateways[orders.length % gateways.length];
    const { id } = await rest(gateway, "/orders", LAPTOP);
    orders.push(id);
    await Promise.all(watchers.map((watcher) => watcher.follow(id)));
  }
}

async function tellProgress() {
  for (let told = 0; told < wanted; await sleep(20)) {
    while (told < leastCuts()) console.log(`cuts ${(told += 1)}`);
  }
}

async function everything() {
  const lanes = Array.from({ length: inFlight }, lane);
  await Promise.all([...lanes, ...watchers.map((watcher) => watcher.isCut()), tellProgress()]);
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
  await Promise.race([everything(), late]);
} catch (error) {
  // Whether the gateway still has somebody who waits tells whose fault a stream is that does not end.
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
// Streams that hang would keep the program alive.
process.exit(bad ? 1 : 0);
