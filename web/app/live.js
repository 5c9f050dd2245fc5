// Keeps the page up to date: one websocket, which is opened again for ever when it is lost.
//
// The socket only brings what happens while it is open. So after each connection the list is read
// again, and the timeline asks for what comes after its last step. Nothing is missed and nothing is shown twice.

import { FEED, ONE, ORDERS, PAGE, QUEUE, RESUME, Refused, TIMELINE, request, socketUrl } from './api.js';
import { announce, behind, changed, cursor, isFinal, learn, learnEvent, learnList, learnStep, set, state } from './state.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A connection that lived this long was a good one: the next loss starts with the first wait again. */
const GOOD_AFTER_MS = 5_000;
/** The socket is asked for a sign of life this often, and has so long to answer. */
const PING_MS = 10_000;
const PONG_MS = 5_000;
/** The list is read again this often even when all seems well, in case a message was lost on the way. */
const RECHECK_MS = 30_000;
/** Whether the queue is paused is asked this often; nobody tells. */
const QUEUE_MS = 5_000;
/** A subscription has certainly begun this long after it was asked for. */
const SETTLED_MS = 2_000;
/** News of unknown orders wait this long, so that many of them cost one read. */
const GATHER_MS = 150;

let failures = 0;
let connectedAt = 0;
let pongTimer;

const client = globalThis.graphqlWs.createClient({
  url: socketUrl(),
  retryAttempts: 0, // follow() does that, with the newest cursor
  keepAlive: PING_MS,
  connectionAckWaitTimeout: LONGEST_WAIT_MS,
  on: {
    connected() {
      connectedAt = Date.now();
      if (state.connection === 'lost') announce('Connected again. Everything is up to date.');
      set({ connection: 'live' });
      // Nobody tells when the subscription has begun: what happened between the list and it is read a little later.
      reread();
      setTimeout(reread, SETTLED_MS);
    },
    closed() {
      clearTimeout(pongTimer);
      if (state.connection !== 'lost') announce('Connection lost. Trying again.');
      set({ connection: 'lost' });
    },
    ping(received) {
      if (!received) pongTimer = setTimeout(() => client.terminate(), PONG_MS);
    },
    pong(received) {
      if (received) clearTimeout(pongTimer);
    },
  },
});

let hurry = () => {};
let waiting = null;

/** Waits before the next attempt; all subscriptions share the wait. */
function backoff() {
  waiting ??= new Promise((resolve) => {
    if (Date.now() - connectedAt > GOOD_AFTER_MS && connectedAt > 0) failures = 0;
    connectedAt = 0;
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++);
    hurry = resolve;
    setTimeout(resolve, longest * (0.5 + Math.random() / 2));
  }).finally(() => { waiting = null; });
  return waiting;
}

/** Ends the wait before the next attempt. */
export const tryNow = () => hurry();

/**
 * Keeps a subscription alive until `over()` or until the function that it returns is called. `variables()` is asked
 * at each attempt. A refusal goes to `refused`; it is tried again all the same.
 */
function follow(query, variables, next, { over = () => false, refused = () => {} } = {}) {
  let stopped = false;
  let unsubscribe = () => {};
  const attempt = () => new Promise((resolve) => {
    const failed = (why) => {
      if (Array.isArray(why)) refused(why[0]);
      resolve();
    };
    const take = (message) => (message.errors ? failed(message.errors) : next(message.data));
    unsubscribe = client.subscribe({ query, variables: variables() }, { next: take, error: failed, complete: resolve });
  });
  (async () => {
    while (!stopped && !over()) {
      await attempt();
      unsubscribe();
      if (!stopped && !over()) await backoff();
    }
  })();
  return () => { stopped = true; unsubscribe(); };
}

let reading = null;
let again = false;

/** Reads the shown part of the list again; calls during a read cause one more. */
export function reread() {
  if (reading) { again = true; return reading; }
  reading = readList().finally(() => {
    reading = null;
    if (again) { again = false; setTimeout(reread, GATHER_MS); }
  });
  return reading;
}

async function readList() {
  try {
    const orders = [];
    let page;
    do {
      const first = Math.min(PAGE, state.wanted - orders.length);
      page = (await request(ORDERS, { first, after: page?.pageInfo.endCursor })).orders;
      orders.push(...page.nodes);
    } while (page.pageInfo.hasNextPage && orders.length < state.wanted);
    learnList(orders, page.pageInfo.hasNextPage);
    watch();
  } catch (error) {
    set({ loadError: error instanceof Refused ? error.message : 'The server does not answer.' });
  }
}

async function readQueue() {
  try {
    learnQueue((await request(QUEUE)).queue);
  } catch {
    // The list says that the server does not answer.
  }
}

function learnQueue(queue) {
  if (queue.paused !== state.queue.paused) announce(queue.paused ? 'Processing is paused.' : 'Processing goes on.');
  set({ queue });
}

/** Lets a paused queue go on. */
export async function resume() {
  try {
    learnQueue((await request(RESUME)).payload.queue);
  } catch {
    readQueue();
  }
}

let gathering = false;

function gather() {
  if (gathering) return;
  gathering = true;
  setTimeout(() => { gathering = false; reread(); }, GATHER_MS);
}

/** Starts the live list. */
export function start() {
  reread();
  readQueue();
  setInterval(() => { if (!document.hidden) readQueue(); }, QUEUE_MS);
  follow(FEED, () => ({}), ({ orderEvents: news }) => {
    // Only a new order is missing from a list of the newest; changes of older ones are not shown.
    if ('missed' in news || (!learnEvent(news) && news.sequence === 1)) gather();
    watch();
  });
  setInterval(() => { if (state.connection !== 'live' || !document.hidden) reread(); }, RECHECK_MS);
  addEventListener('online', tryNow);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) { tryNow(); reread(); } });
}

let stopWatching = null;

/** Follows the timeline of the open order, until it is final and complete or another order is opened. */
function watch() {
  const { open } = state;
  const over = () => state.open !== open || open.missing || (isFinal(open.steps.at(-1)?.status) && !behind());
  if (stopWatching || !open || over()) return;
  const refused = ({ message, extensions }) => {
    open.missing = extensions?.code === 'order_not_found';
    open.error = message;
    changed();
  };
  const stop = follow(TIMELINE, () => ({ id: open.id, after: cursor() }), ({ orderStatus }) => {
    open.error = null;
    learnStep(orderStatus);
    if (!over()) return;
    // A failed order that is redriven goes on: the next news of it start another watch.
    stop();
    if (stopWatching === stop) stopWatching = null;
  }, { over, refused });
  stopWatching = stop;
}

/** Opens one order; `null` closes it. */
export async function open(id) {
  stopWatching?.();
  stopWatching = null;
  const opened = id && { id, order: state.orders.get(id) ?? null, steps: [], missing: false, error: null };
  set({ open: opened, action: null });
  if (!opened) return;
  watch();
  try {
    const { order } = await request(ONE, { id });
    if (order) learn(order);
    else opened.missing = true;
  } catch (error) {
    if (error instanceof Refused) opened.error = error.message;
  }
  changed();
}
