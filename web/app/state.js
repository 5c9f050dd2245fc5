// The state of the page. Every change goes through this file and requests a redraw: in the next frame for actions of
// the user, and at most ten times a second for events of the server.
//
// An order's `sequence` counts its changes. An event that is not newer than the state is ignored, so events may arrive
// in any order, repeatedly, and over any connection.

import { announce } from './announce.js';
import { PAGE } from './api.js';
import { title } from './format.js';

/** The interval in which events of the server are shown. */
const NEWS_MS = 100;

export const state = {
  connection: 'connecting', // or 'live', 'lost'
  loaded: false,
  loadError: null,
  orders: new Map(), // by id
  wanted: PAGE,
  more: false,
  queue: { paused: false, workers: null },
  session: null, // the caller, once it is known
  open: null, // the order on the right, see open()
  form: { busy: false, errors: {} },
  action: null, // what is being asked about the open order: { kind, busy, error }
};

/** Whether the server knows the caller. Without authentication, the session has no end. */
export const isAuthenticated = () => Boolean(state.session?.expiresAt);

/** Whether the caller has a scope. False until the caller is known. */
export const may = (scope) => Boolean(state.session?.scopes.includes(scope));

let draw = () => {};
let frame = null;
let later = null;
let drawnAt = 0;

/** `callback` is called after changes, at most once for each frame. */
export function onChange(callback) {
  draw = callback;
  changed();
}

/** Asks for a redraw. A hidden page gets no frames, so a timer stands in. */
export function changed() {
  if (frame !== null) return;
  clearTimeout(later);
  later = null;
  const run = () => { frame = null; drawnAt = Date.now(); draw(); };
  frame = document.hidden ? setTimeout(run, 250) : requestAnimationFrame(run);
}

/** Asks for a redraw soon. */
function news() {
  if (frame === null) later ??= setTimeout(changed, Math.max(0, drawnAt + NEWS_MS - Date.now()));
}

/** Changes some members and redraws. */
export function set(members) {
  Object.assign(state, members);
  changed();
}

/** The orders to show, newest first: ids begin with the time of their creation. */
export function rows() {
  return [...state.orders.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, state.wanted);
}

/** The order on the right as far as it is known, whether or not it is in the list. */
export const openOrder = () => state.open && (state.open.order ?? state.orders.get(state.open.id));

/** Stores an order that the server sent, unless the state has a newer one. */
export function learn(order, { lit = false } = {}) {
  const known = state.orders.get(order.id);
  if (!known || known.sequence <= order.sequence) {
    state.orders.set(order.id, { ...order, lit: lit || (known?.lit ?? false) || Boolean(known && known.sequence < order.sequence) });
  }
  const open = state.open;
  if (open?.id === order.id && (!open.order || open.order.sequence <= order.sequence)) open.order = order;
  changed();
}

/** Replaces the list by the one that the server sent; orders that are newer than it stay. */
export function learnList(orders, more) {
  const listed = new Set(orders.map((order) => order.id));
  const newest = orders[0]?.id ?? '';
  const known = [...state.orders.keys()].reduce((last, id) => (id > last ? id : last), '');
  for (const id of state.orders.keys()) if (!listed.has(id) && id < newest) state.orders.delete(id);
  for (const order of orders) learn(order, { lit: state.loaded && order.id > known });
  set({ more, loaded: true, loadError: null });
}

/** A change of some order. Returns false when its order is not in the list. */
export function learnEvent(event) {
  const id = event.orderId;
  const { orders, open } = state;
  const known = orders.get(id);
  if (known && known.sequence < event.sequence) orders.set(id, { ...advance(known, event), lit: true });
  if (open?.id === id && open.order && open.order.sequence < event.sequence) open.order = advance(open.order, event);
  news();
  return Boolean(known);
}

// An event does not say when the next attempt is; the list is read again for that.
const advance = (order, { status, sequence, attempt, reason, errorClass }) => (
  { ...order, status, sequence, attempt, reason, errorClass, waitsFor: null, nextAttemptAt: null });

/** The next step in the timeline of the open order; an old one is ignored. */
export function learnStep(event) {
  const open = state.open;
  if (open?.id !== event.orderId) return;
  // It is null in an item that reports a step.
  open.progress = event.progress;
  if (event.sequence > cursor()) {
    open.steps.push(event);
    announce(`Order ${title(event.order)} is ${event.status.toLowerCase()}.`, 'order');
  }
  learn(event.order);
}

/** The sequence of the last step that the timeline has. */
export const cursor = () => state.open?.steps.at(-1)?.sequence ?? 0;

/** Whether the open order is known to have changed after the last step that the timeline has. */
export const behind = () => (openOrder()?.sequence ?? 0) > cursor();

/** Whether nothing happens to an order in this status by itself. */
export const isFinal = (status) => status === 'COMPLETED' || status === 'FAILED' || status === 'CANCELLED';
