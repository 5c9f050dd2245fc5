// The frame of the console: header, navigation, the view, dialogs and messages.

import { Account, Connection } from '../app/account.js';
import { count } from '../app/format.js';
import { Header } from '../app/header.js';
import { html } from '../app/html.js';
import { Icon } from '../app/icons.js';
import { changed, may, state } from '../app/state.js';
import { tryNow } from '../app/connection.js';
import { AccessDialog } from './access.js';
import { BulkDialog } from './bulk.js';
import { Help, toggleHelp } from './keyboard.js';
import { queue } from './overview.js';
import { Toast } from './parts.js';
import { QueueDialog } from './queue.js';
import { href, route } from './router.js';
import { VIEWS, pathOf } from './views.js';

/** Before the caller is known, every view is shown as a name. */
export const mayView = (view) => !state.session || may(view.scope);

export const currentView = () => VIEWS.find(({ path }) => path === route.view) ?? null;

export const ConsoleHeader = () => html`
  <${Header} current="console" redraw=${changed}>${(!state.session || may('orders:read')) && html`<${Connection} />`}<${Account} />
    <button type="button" class="quiet theme" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick=${() => toggleHelp(true)}><${Icon} name="help" /></button></${Header}>`;

export function Console() {
  const view = currentView();
  return html`
    <nav class="side" aria-label="Views"><ul>${VIEWS.filter(mayView).map((each) => html`
      <li key=${each.path}><a href=${href(pathOf(each))} aria-current=${each === view ? 'page' : undefined}><${Icon} name=${each.icon} /> <span>${each.name}</span><${Badge} view=${each} /></a></li>`)}</ul></nav>
    <main class="view" key=${view?.path}>
      ${state.connection === 'lost' && html`<div class="banner-line" role="status"><span><b>Connection lost – trying again.</b> What you see may be out of date.</span><button type="button" class="quiet small" onClick=${tryNow}>Try now</button></div>`}
      ${queue.value?.paused && route.view !== 'queue' && html`<div class="banner-line" role="status"><span><b>Processing is paused${queue.value.pausedBy ? ` by ${queue.value.pausedBy}` : ''}.</b> Orders are accepted, and none is started.</span><a class="button quiet small" href=${href('queue')}>Open the queue</a></div>`}
      <${Body} view=${view} />
    </main>
    <${BulkDialog} /><${QueueDialog} /><${AccessDialog} /><${Help} /><${Toast} />`;
}

function Body({ view }) {
  if (!view) return html`<section class="view-main"><h1>There is no such view</h1><p><a href=${href()}>Open the overview</a></p></section>`;
  if (!mayView(view)) return html`<section class="view-main"><h1>${view.name}</h1><p class="note-box" role="note">Your key cannot open this view: it needs the scope <code>${view.scope}</code>.</p></section>`;
  return html`<${view.View} />`;
}

function Badge({ view }) {
  const failed = queue.value?.counts?.failed;
  if (view.path === 'dead-letters' && failed) return html`<span class="badge" data-tone="bad">${failed > 999 ? `${Math.floor(failed / 1000)}k` : count(failed)}</span>`;
  if (view.path === 'queue' && queue.value?.paused) return html`<span class="badge" data-tone="warn">paused</span>`;
  return null;
}
