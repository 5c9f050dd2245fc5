// Starts the page. Which order is open is in the address, so that it can be linked, and Back closes it.

import { render } from '../vendor/preact/preact.mjs';
import { onUnauthenticated } from './api.js';
import { start } from './live.js';
import { readSession, signIn } from './session.js';
import { changed, onChange, set, state } from './state.js';
import { html } from './html.js';
import { Page, PageHeader } from './page.js';
import { at } from './root.js';
import { wide } from './screen.js';
import { open } from './watch.js';

const root = document.getElementById('app');
const header = document.getElementById('header');

/** The wait before the caller is read again after a failed read. */
const SESSION_RETRY_MS = 3_000;

/** The row of what was closed: it takes the focus, which would be lost with the closed order. */
let closed = null;

function followAddress() {
  const [, part, id] = /^#\/(orders|webhooks)(?:\/([\w-]+))?$/.exec(location.hash) ?? [];
  // Links of earlier versions.
  if (part === 'webhooks') return location.replace(at(`console/webhooks${id ? `/${id}` : ''}`));
  const order = part === 'orders' && id ? id : null;
  if (order !== (state.open?.id ?? null)) {
    if (!order) closed = `row-${state.open.id}`;
    open(order);
  }
}

function draw() {
  render(html`<${PageHeader} />`, header);
  render(html`<${Page} />`, root);
  if (closed && !state.open) document.getElementById(closed)?.focus();
  closed = null;
}

function closeOnEscape(event) {
  if (event.key !== 'Escape') return;
  if (state.action) set({ action: null });
  else if (state.open) location.hash = '';
}

async function learnSession() {
  const session = await readSession();
  if (!session) { setTimeout(learnSession, SESSION_RETRY_MS); return; }
  set({ session });
}

root.replaceChildren();
header.replaceChildren();
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
