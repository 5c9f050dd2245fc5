// Starts the page. Which order is open is in the address, so that it can be linked, and Back closes it.

import { render } from '../vendor/preact/preact.mjs';
import { onUnauthenticated } from './api.js';
import { start } from './live.js';
import { readSession, signIn } from './session.js';
import { changed, onChange, set, state } from './state.js';
import { html } from './html.js';
import { Page } from './page.js';
import { wide } from './screen.js';
import { open } from './watch.js';

const root = document.getElementById('app');

/** The order that was closed: its row takes the focus, which would be lost with the closed order. */
let closed = null;

function followAddress() {
  const id = /^#\/orders\/([\w-]+)$/.exec(location.hash)?.[1] ?? null;
  if (id === (state.open?.id ?? null)) return;
  if (!id) closed = state.open.id;
  open(id);
}

function draw() {
  render(html`<${Page} />`, root);
  if (closed && !state.open) document.getElementById(`row-${closed}`)?.focus();
  closed = null;
}

function closeOnEscape(event) {
  if (event.key !== 'Escape' || !state.open) return;
  if (state.action) {
    state.action = null;
    changed();
    return;
  }
  location.hash = '';
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
readSession().then((session) => set({ session }));
