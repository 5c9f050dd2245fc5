// Keeps the list and the figures up to date.
//
// The socket only brings what happens while it is open. So after each connection the list and the counts are read
// again. Nothing is missed and nothing is shown twice.

import { announce } from './announce.js';
import { FEED, ORDERS, PAGE, QUEUE, RESUME, Refused, request } from './api.js';
import { follow, watchConnection } from './connection.js';
import { countEvent, learnCounts } from './counts.js';
import { blind, learnTime, missed, rateEvent, seeing } from './rates.js';
import { learnEvent, learnList, set, state } from './state.js';
import { signIn } from './session.js';
import { watch } from './watch.js';

/** The list is read again this often even when all seems well, in case a message was lost on the way. */
const RECHECK_MS = 30_000;
/** The wait before the list is read again after a failed read. */
const RETRY_MS = 3_000;
/** Whether the queue is paused, and the counts, are asked for this often. */
const QUEUE_MS = 5_000;
/** A subscription has certainly begun this long after it was asked for. */
const SETTLED_MS = 2_000;
/** Events of unknown orders wait this long, so that many of them cost one read. */
const GATHER_MS = 150;
/** While many orders come, the list is read no more often than this. */
const BUSY_MS = 1_000;
/** After a burst of changes the counts are asked for once more. The server's may be a second old. */
const QUIET_MS = 1_500;

let reading = null;
let again = false;
let readAt = 0;

/** Reads the shown part of the list again; calls during a read cause one more. */
export function reread() {
  if (reading) { again = true; return reading; }
  readAt = Date.now();
  reading = readList().finally(() => {
    reading = null;
    if (again) { again = false; gather(); }
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
    setTimeout(() => { if (state.loadError && !reading) reread(); }, RETRY_MS);
  }
}

let gathering = false;

function gather() {
  if (gathering) return;
  gathering = true;
  const wait = Math.max(GATHER_MS, readAt + BUSY_MS - Date.now());
  setTimeout(() => { gathering = false; reread(); }, wait);
}

async function readQueue() {
  try {
    learnQueue((await request(QUEUE)).queue);
  } catch {
    // The list says that the server does not answer.
  }
}

function learnQueue({ counts, ...queue }) {
  if (queue.paused !== state.queue.paused) announce(queue.paused ? 'Processing is paused.' : 'Processing is resumed.', 'queue');
  if (counts) {
    learnCounts(counts);
    learnTime(counts.countedAt, { anew: true });
  }
  set({ queue });
}

/** Resumes a paused queue. */
export async function resume() {
  try {
    learnQueue((await request(RESUME)).payload.queue);
  } catch {
    readQueue();
  }
}

let newsAt = 0;
let burst = null;

/** Asks for the counts when nothing has happened for a moment. */
function afterBurst() {
  newsAt = Date.now();
  const look = () => {
    const rest = newsAt + QUIET_MS - Date.now();
    burst = rest > 0 ? setTimeout(look, rest) : null;
    if (rest <= 0 && !document.hidden) readQueue();
  };
  burst ??= setTimeout(look, QUIET_MS);
}

function learnNews(news) {
  if ('missed' in news) {
    missed();
    gather();
  } else {
    if (countEvent(news)) rateEvent(news);
    // Only a new order is missing from a list of the newest; changes of older ones are not shown. When the next
    // attempt of an order is, only the list says.
    const listed = learnEvent(news);
    if (listed ? news.status === 'PENDING' && news.sequence > 1 : news.sequence === 1) gather();
  }
  afterBurst();
  watch();
}

function readAll() {
  reread();
  readQueue();
}

/** Starts the live list. */
export function start() {
  watchConnection({
    unauthenticated: signIn,
    connected() {
      if (state.connection === 'lost') announce('Connected again. Everything is up to date.', 'connection');
      set({ connection: 'live' });
      seeing();
      // No message states when the subscription has begun: changes between the list and it are read a little later.
      readAll();
      setTimeout(readAll, SETTLED_MS);
    },
    lost(since) {
      if (state.connection !== 'lost') announce('Connection lost. Trying again.', 'connection');
      set({ connection: 'lost' });
      blind(since);
    },
  });
  readAll();
  setInterval(() => { if (!document.hidden) readQueue(); }, QUEUE_MS);
  follow(FEED, () => ({}), ({ orderEvents }) => learnNews(orderEvents));
  setInterval(() => { if (state.connection !== 'live' || !document.hidden) reread(); }, RECHECK_MS);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) readAll(); });
  document.addEventListener('resume', readAll);
}
