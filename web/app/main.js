// Starts the page. Which order or webhook endpoint is open is in the address, so that it can be linked, and Back closes it.

import { render } from '../vendor/preact/preact.mjs';
import { onUnauthenticated } from './api.js';
import { start } from './live.js';
import { ask, hooks, openHook, refresh } from './hooks.js';
import { readSession, signIn } from './session.js';
import { changed, may, onChange, set, state } from './state.js';
import { html } from './html.js';
import { Page } from './page.js';
import { wide } from './screen.js';
import { open } from './watch.js';

const root = document.getElementById('app');

/** The wait before the caller is read again after a failed read. */
const SESSION_RETRY_MS = 3_000;

/** The row of what was closed: it takes the focus, which would be lost with the closed order or endpoint. */
let closed = null;

function followAddress() {
  const [, part, opened] = /^#\/(orders|webhooks)(?:\/([\w-]+))?$/.exec(location.hash) ?? [];
  const view = part === 'webhooks' ? 'webhooks' : 'orders';
  const order = view === 'orders' && opened ? opened : null;
  const hook = view === 'webhooks' && opened ? opened : null;
  if (view !== state.view) set({ view });
  if (order !== (state.open?.id ?? null)) {
    if (!order) closed = `row-${state.open.id}`;
    open(order);
  }
  if (hook !== (hooks.open?.id ?? null)) {
    if (!hook) closed = `hook-${hooks.open.id}`;
    openHook(hook);
  }
  readHooks();
}

/** Reads the webhook endpoints when they are shown to a caller that may see them. */
function readHooks() {
  if (state.view === 'webhooks' && may('webhooks:manage')) refresh();
}

function draw() {
  render(html`<${Page} />`, root);
  if (closed && !state.open && !hooks.open) (document.getElementById(closed) ?? document.getElementById('hooks-title'))?.focus();
  closed = null;
}

function closeOnEscape(event) {
  if (event.key !== 'Escape') return;
  if (hooks.action) ask(null);
  else if (hooks.open) location.hash = '#/webhooks';
  else if (state.action) set({ action: null });
  else if (state.open) location.hash = '';
}

async function learnSession() {
  const session = await readSession();
  if (!session) { setTimeout(learnSession, SESSION_RETRY_MS); return; }
  set({ session });
  readHooks();
}

root.replaceChildren();
onChange(draw);
addEventListener('hashchange', followAddress);
addEventListener('keydown', closeOnEscape);
wide.addEventListener('change', changed);
// The ages of orders, and the time that the open one has spent in its status, grow without events.
setInterval(() => { if (!document.hidden) changed(); }, 1_000);
followAddress();
onUnauthenticated(signIn);
start();
learnSession();
