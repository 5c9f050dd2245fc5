// The page that a customer sees of one order, at `/track/{id}`: how far it is, what it is, nothing else.
//
// It reads the order once, then follows its changes; while there is no live connection it asks again and again. On a
// server with authentication it needs the token of a tracking link.

import { render } from '../vendor/preact/preact.mjs';
import { announce } from './announce.js';
import { html } from './html.js';
import { Refused, follow, readOrder, watchBrowser } from './tracked.js';
import { Tracking, headline } from './tracking.js';

/** While there is no live connection, and while a failed order may be taken up again, it is read this often. */
const READ_MS = 10_000;
const FIRST_RETRY_MS = 1_000;

const root = document.getElementById('app');
const id = orderId();
// `order` is null until it is known; `steps` are its changes so far. `closed` says why the order cannot be shown.
const state = { id, order: null, steps: [], percent: null, closed: id === null ? 'missing' : null, offline: false };

/** The last part of the address, or null when that cannot be an id. */
function orderId() {
  const part = /\/track\/([^/]+)$/.exec(location.pathname)?.[1] ?? '';
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(part) ? part : null;
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

function learnStep(step) {
  state.percent = null;
  if (step.sequence > cursor()) state.steps.push(step);
  if (step.sequence > state.order.sequence) learn({ ...state.order, status: step.status, sequence: step.sequence });
  else draw();
}

const cursor = () => state.steps.at(-1)?.sequence ?? 0;

/** Nothing happens any more, and everything that has happened is here. A failed order may be taken up again. */
const over = () => state.closed || (['completed', 'cancelled', 'failed'].includes(state.steps.at(-1)?.status)
  && (state.order?.sequence ?? 0) <= cursor());

const close = ({ why }) => set({ closed: why, order: null, offline: false });

function connected() {
  if (state.offline) announce('Connected again.', 'connection');
  set({ offline: false });
}

function lost() {
  if (!state.offline) announce('No connection. Trying again.', 'connection');
  set({ offline: true });
}

let watching = false;

async function watch() {
  if (watching || over()) return;
  watching = true;
  await follow(id, { cursor, take: learnStep, progress: ({ percent }) => set({ percent }), over, connected, lost }).catch(close);
  watching = false;
  set({ offline: false });
}

/** Reads the order. Says whether there was an answer. */
async function read() {
  try {
    learn(await readOrder(id));
    watch();
    return true;
  } catch (error) {
    if (error instanceof Refused) close(error);
    return error instanceof Refused;
  }
}

async function readFirst() {
  for (let wait = FIRST_RETRY_MS; !(await read()) && !state.order; wait = Math.min(wait * 2, READ_MS)) {
    set({ offline: true });
    await new Promise((resolve) => { setTimeout(resolve, wait * (0.75 + Math.random() / 2)); });
  }
}

function readAgain() {
  const failed = state.order?.status === 'failed';
  if (!document.hidden && !state.closed && state.order && (state.offline || failed)) read();
}

draw();
// The times and the wording change with the clock, too.
setInterval(() => { if (!document.hidden) draw(); }, 30_000);
// A new link to the same order differs only in its fragment.
addEventListener('hashchange', () => location.reload());
if (!state.closed) {
  watchBrowser();
  readFirst();
  setInterval(readAgain, READ_MS);
  document.addEventListener('visibilitychange', readAgain);
  addEventListener('online', readAgain);
}
