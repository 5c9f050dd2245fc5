// Follows the open order: its timeline continues after the last step that is known, also when the connection is lost.

import { ONE, Refused, TIMELINE, request } from './api.js';
import { follow } from './connection.js';
import { behind, changed, cursor, isFinal, learn, learnStep, set, state } from './state.js';

let stopWatching = null;

/** Follows the timeline of the open order, until it is final and complete or another order is opened. */
export function watch() {
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
    // A failed order that is redriven changes again: its next event starts another watch.
    stop();
    if (stopWatching === stop) stopWatching = null;
  }, { over, refused });
  stopWatching = stop;
}

/** Opens one order; `null` closes it. */
export async function open(id) {
  stopWatching?.();
  stopWatching = null;
  const opened = id && { id, order: state.orders.get(id) ?? null, steps: [], progress: null, missing: false, error: null };
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
