// The whole page: header, form, list, the open order, foot.

import { html } from './html.js';
import { Account, Connection } from './account.js';
import { changed, state } from './state.js';
import { tryNow } from './connection.js';
import { resume } from './live.js';
import { Overview } from './overview.js';
import { dateTime } from './format.js';
import { NewOrder } from './form.js';
import { Header, hasTools } from './header.js';
import { List } from './list.js';
import { Detail } from './detail.js';
import { wide } from './screen.js';

const LINKS = [
  ['console', 'Console'],
  ['guide/', 'Guide'],
  ...(hasTools ? [['docs', 'REST reference'], ['graphiql', 'GraphiQL'], ['playground', 'Playground']] : []),
  ['problems', 'Error codes'],
  ['metrics', 'Metrics'],
  ['readyz?verbose', 'Readiness'],
];

export const PageHeader = () => html`
  <${Header} current="" redraw=${changed}><${Connection} /><${Account} /></${Header}>`;

export function Page() {
  const covered = Boolean(state.open) && !wide.matches;
  return html`
    <main class="columns">
      <h1 class="unseen">Orders</h1>
      <div class="left" inert=${covered}><${Overview} /><${NewOrder} /><${List} /></div>
      <${Detail} />
    </main>
    ${(state.loaded || state.loadError) && html`<footer class="foot" inert=${covered}>
      <nav aria-label="Interfaces">${LINKS.map(([href, name]) => html`<a href=${href}>${name}</a>`)}</nav>
    </footer>`}
    <div class="notes">
      ${state.queue.paused && html`<${Paused} queue=${state.queue} />`}
      ${state.queue.workers === 0 && html`<${NoWorker} />`}
      ${state.connection === 'lost' && html`<${Lost} />`}
    </div>`;
}

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
