// The page that a customer sees of one order, at `/track/{id}`: how far it is, what it is, nothing else.
//
// It reads the order once, then follows its changes; while there is no live connection it asks again and again.

import { render } from '../vendor/preact/preact.mjs';
import { announce } from './announce.js';
import { Refused, TRACK, TRACKED_ORDER, request } from './api.js';
import { follow, tryNow, watchConnection } from './connection.js';
import { html } from './html.js';
import { Tracking, headline } from './tracking.js';

/** While there is no live connection, and while a failed order may be taken up again, it is read this often. */
const READ_MS = 10_000;
const FIRST_RETRY_MS = 1_000;

const root = document.getElementById('app');
const id = orderId();
// `order` is null until it is known; `steps` are its changes so far.
const state = { id, order: null, steps: [], missing: id === null, offline: false };

/** The last part of the address, or null when that cannot be an id. */
function orderId() {
  const part = /\/track\/([^/]+)$/.exec(location.pathname)?.[1] ?? '';
  return /^[\w-]{1,64}$/.test(part) ? part : null;
}

function draw() {
  const title = headline(state);
  if (title !== document.title) {
    document.title = title;
    announce(`${title}.`, 'order');
  }
  render(html`<${Tracking} ...${state} />`, root);
}

function set(members) {
  Object.assign(state, members);
  draw();
}

/** Takes the order as it is now, unless something newer is known. */
function learn(order) {
  if (!state.order || state.order.sequence <= order.sequence) set({ order });
}

const cursor = () => state.steps.at(-1)?.sequence ?? 0;

/** Nothing happens any more, and everything that has happened is here. A failed order may be taken up again. */
const over = () => state.missing || (['COMPLETED', 'CANCELLED', 'FAILED'].includes(state.steps.at(-1)?.status)
  && (state.order?.sequence ?? 0) <= cursor());

const isUnknown = (code) => code === 'order_not_found' || code === 'invalid_order_id';

let watching = false;

function watch() {
  if (watching || over()) return;
  watching = true;
  const stop = follow(TRACK, () => ({ id, after: cursor() }), ({ orderStatus: { order, ...step } }) => {
    if (step.sequence > cursor()) state.steps.push(step);
    learn(order);
    if (!over()) return;
    stop();
    watching = false;
    set({ offline: false });
  }, { over, refused: ({ extensions }) => { if (isUnknown(extensions?.code)) set({ missing: true, offline: false }); } });
}

/** Reads the order. Says whether there was an answer. */
async function read() {
  try {
    const { order } = await request(TRACKED_ORDER, { id });
    if (order) learn(order);
    else set({ missing: true });
    watch();
    return true;
  } catch (error) {
    if (!(error instanceof Refused)) return false;
    if (isUnknown(error.code)) set({ missing: true });
    return isUnknown(error.code);
  }
}

async function readFirst() {
  for (let wait = FIRST_RETRY_MS; !(await read()) && !state.order; wait = Math.min(wait * 2, READ_MS)) {
    set({ offline: true });
    await new Promise((resolve) => { setTimeout(resolve, wait * (0.75 + Math.random() / 2)); });
  }
}

function readAgain() {
  const failed = state.order?.status === 'FAILED';
  if (!document.hidden && !state.missing && state.order && (state.offline || failed)) read();
}

draw();
// The times and the wording change with the clock, too.
setInterval(() => { if (!document.hidden) draw(); }, 30_000);
if (!state.missing) {
  watchConnection({
    connected() {
      if (state.offline) announce('Connected again.', 'connection');
      set({ offline: false });
    },
    lost() {
      if (!state.offline) announce('No connection. Trying again.', 'connection');
      set({ offline: true });
    },
  });
  readFirst();
  watch();
  setInterval(readAgain, READ_MS);
  document.addEventListener('visibilitychange', readAgain);
  addEventListener('online', () => { tryNow(); readAgain(); });
}
