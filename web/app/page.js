// The whole page: head, form, list, the open order or the webhook endpoints, foot.

import { html } from './html.js';
import { isAuthenticated, may, state } from './state.js';
import { tryNow } from './connection.js';
import { resume } from './live.js';
import { Overview } from './overview.js';
import { dateTime } from './format.js';
import { HookDetail } from './hook_detail.js';
import { NewHook } from './hook_form.js';
import { HookList } from './hook_list.js';
import { hooks } from './hooks.js';
import { NewOrder } from './form.js';
import { List } from './list.js';
import { Detail } from './detail.js';
import { wide } from './screen.js';
import { endSession } from './session.js';

/** A server that requires a key serves these only if its operators enable them. */
const DEVELOPER_TOOLS = [
  ['docs', 'REST reference'],
  ['graphiql', 'GraphiQL'],
  ['playground', 'Playground'],
];
const LINKS = [
  ['guide/', 'Guide'],
  ...DEVELOPER_TOOLS,
  ['metrics', 'Metrics'],
  ['readyz?verbose', 'Readiness'],
];

export function Page() {
  const covered = Boolean(state.view === 'webhooks' ? hooks.open : state.open) && !wide.matches;
  return html`
    <header class="top">
      <a class="brand" href="#/"><img src="icon.svg" alt="" width="28" height="28" /><h1>Orders</h1></a>
      ${may('webhooks:manage') && html`<${Tabs} />`}
      <div class="account"><${Connection} /><${Account} /></div>
    </header>
    ${state.view === 'webhooks' ? html`<${Webhooks} covered=${covered} />` : html`
      <main class="columns" key="orders">
        <div class="left" inert=${covered}><${Overview} /><${NewOrder} /><${List} /></div>
        <${Detail} />
      </main>`}
    ${(state.loaded || state.loadError) && html`<footer class="foot" inert=${covered}>
      <nav aria-label="Interfaces">${LINKS.filter((link) => !isAuthenticated() || !DEVELOPER_TOOLS.includes(link)).map(([href, name]) => html`<a href=${href}>${name}</a>`)}</nav>
    </footer>`}
    <div class="notes">
      ${state.queue.paused && html`<${Paused} queue=${state.queue} />`}
      ${state.queue.workers === 0 && html`<${NoWorker} />`}
      ${state.connection === 'lost' && html`<${Lost} />`}
    </div>`;
}

/** The parts of the page. A caller that may not manage webhooks has one. */
const Tabs = () => html`
  <nav class="tabs" aria-label="Parts of the page">
    <a href="#/" aria-current=${state.view === 'orders' ? 'page' : undefined}>Orders</a>
    <a href="#/webhooks" aria-current=${state.view === 'webhooks' ? 'page' : undefined}>Webhooks</a>
  </nav>`;

function Webhooks({ covered }) {
  if (!may('webhooks:manage')) {
    return html`<main class="card refused"><p class="muted">${state.session
      ? 'Your key cannot manage webhooks: it needs the scope webhooks:manage.' : 'One moment…'}</p></main>`;
  }
  return html`
    <main class="columns webhooks" key="webhooks">
      <div class="left" inert=${covered}><${NewHook} /><${HookList} /></div>
      <${HookDetail} />
    </main>`;
}

const CONNECTION = { connecting: 'Connecting…', live: 'Live', lost: 'Offline' };

const Connection = () => html`<span class="connection ${state.connection}"><span>${CONNECTION[state.connection]}</span></span>`;

const Account = () => isAuthenticated() && html`
  <span class="muted" title=${`Tenant ${state.session.tenant}`}>${state.session.name}</span>
  <button type="button" class="quiet" onClick=${endSession}>Sign out</button>`;

const Paused = ({ queue }) => html`
  <div class="banner">
    <p><strong>Processing is paused${queue.pausedBy && ` by ${queue.pausedBy}`}${queue.pausedUntil && ` until ${dateTime(queue.pausedUntil)}`}.</strong>
      <span> Orders are accepted, and none is started.</span></p>
    <button type="button" class="quiet" onClick=${resume}>Resume</button>
  </div>`;

const NoWorker = () => html`
  <div class="banner">
    <p><strong>No worker is connected.</strong> <span>Orders are accepted and wait until a processor connects.</span></p>
  </div>`;

const Lost = () => html`
  <div class="banner">
    <p><strong>Connection lost – trying again…</strong> <span>What you see may be out of date.</span></p>
    <button type="button" class="quiet" onClick=${tryNow}>Try now</button>
  </div>`;
