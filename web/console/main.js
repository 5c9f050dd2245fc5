// Starts the console. The view, what is open and the query are in the address, so that each can be linked.

import { render } from '../vendor/preact/preact.mjs';
import { onUnauthenticated } from '../app/api.js';
import { html } from '../app/html.js';
import { readSession, signIn } from '../app/session.js';
import { changed, may, onChange, set, state } from '../app/state.js';
import { startKeyboard } from './keyboard.js';
import { startLive } from './live.js';
import { queue } from './overview.js';
import { go, route, startRouter } from './router.js';
import { Console, ConsoleHeader, currentView, mayView } from './shell.js';
import { VIEWS, pathOf } from './views.js';

const root = document.getElementById('app');
const header = document.getElementById('header');

/** The wait before the caller is read again after a failed read. */
const SESSION_RETRY_MS = 3_000;
/** The navigation shows the number of failed orders and a pause, which are read this often. */
const QUEUE_MS = 15_000;

let shown = null;

function draw() {
  render(html`<${ConsoleHeader} />`, header);
  render(html`<${Console} />`, root);
  shown?.drawn();
}

/** Opens the view of the address, once the caller is known and may see it. */
function follow() {
  const view = currentView();
  document.title = `${view?.name ?? 'Console'} – Orders`;
  if (!state.session) return;
  if (shown !== view) {
    shown?.leave();
    if (shown) scrollTo(0, 0);
    shown = null;
  }
  if (view && mayView(view)) {
    if (shown !== view) requestAnimationFrame(showInNavigation);
    shown = view;
    view.enter();
  }
}

/** On a narrow screen the navigation is one line that scrolls. */
function showInNavigation() {
  const link = root.querySelector('.side [aria-current]');
  const line = link?.closest('ul');
  if (line) line.scrollLeft = link.offsetLeft - (line.clientWidth - link.offsetWidth) / 2;
}

async function learnSession() {
  const session = await readSession();
  if (!session) { setTimeout(learnSession, SESSION_RETRY_MS); return; }
  set({ session });
  follow();
  if (may('orders:read')) {
    startLive();
    queue.read();
    setInterval(() => { if (!document.hidden) queue.read(); }, QUEUE_MS);
  }
}

root.replaceChildren();
header.replaceChildren();
onUnauthenticated(signIn);
onChange(draw);
startKeyboard(VIEWS.map((view) => ({ key: view.key, name: view.name, open: () => { if (mayView(view)) go(pathOf(view)); } })), () => shown?.keys ?? {});
startRouter(follow);
// Ages and remaining times change without events.
setInterval(() => { if (!document.hidden && route) changed(); }, 1_000);
learnSession();
