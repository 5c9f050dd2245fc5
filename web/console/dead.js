// Dead letters by group: one error class and one reason, without its variable parts.

import { count, duration } from '../app/format.js';
import { html } from '../app/html.js';
import { may } from '../app/state.js';
import { askBulk } from './bulk.js';
import { onEvent } from './live.js';
import { Ago, Head, Read } from './parts.js';
import { Reader } from './reader.js';
import { href, route } from './router.js';

export const groups = new Reader('dead-letters/groups?limit=100', 10_000);
/** How often each error class has failed orders, for the small charts. */
const stats = new Reader('stats?window=6h', 30_000);

export function enter() { groups.start(); stats.start(); }
export function leave() { groups.stop(); stats.stop(); }

let soon = null;
onEvent((event) => {
  const isNews = !event || event.status === 'FAILED' || event.previousStatus === 'FAILED';
  if (route.view === 'dead-letters' && isNews) soon ??= setTimeout(() => { soon = null; groups.read(); }, 1_000);
});

const quoted = (text) => (/\s|^$/.test(text) ? `"${text.replaceAll('"', '*')}"` : text.replaceAll('"', '*'));

/** The search that has the orders of a group. */
const queryOf = ({ errorClass, reason }) => ['status:failed', errorClass && `class:${quoted(errorClass)}`, `reason:${quoted(reason ?? '')}`].filter(Boolean).join(' ');

const filterOf = ({ errorClass, reason }) => ({ ...(errorClass && { errorClass }), reason: reason ?? '' });

const redrive = (filter, title) => askBulk({ kind: 'redrive', filter, title, onDone: () => groups.read() });

export const DeadView = () => html`
  <section class="view-main" aria-labelledby="view-title">
    <${Head} title="Dead letters">
      ${may('orders:manage') && html`<button type="button" class="small" onClick=${() => redrive({}, 'Redrive all dead letters')}>Redrive all…</button>`}
      <a class="button small" href=${href('orders', { q: 'status:failed' })}>As a list</a></${Head}>
    <p class="lead muted">Failed orders, grouped by error class and reason. Numbers, ids, addresses and times in a reason are shown as *.</p>
    <${Read} reader=${groups} what="groups of dead letters" api="GET /dead-letters/groups">${(value) => html`<${Groups} value=${value} />`}</${Read}>
  </section>`;

function Groups({ value }) {
  if (value.groups.length === 0) return html`<div class="card none-left"><p><b>No order has failed.</b></p><p class="muted">An order comes here after its last attempt.</p></div>`;
  const most = Math.max(...value.groups.map((group) => group.count));
  return html`
    <p class="muted">${count(value.orders)} ${value.orders === 1 ? 'order' : 'orders'} in ${count(value.groups.length)} ${value.groups.length === 1 ? 'group' : 'groups'}${value.complete ? '' : '. There are more: only the latest were read.'}</p>
    <ul class="groups">${value.groups.map((group) => html`
      <li class="card group" key=${`${group.errorClass} ${group.reason}`}>
        <div class="group-count"><b>${count(group.count)}</b><svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="share-all" width="100" height="4" /><rect class="share" width=${Math.max(2, (group.count / most) * 100)} height="4" /></svg></div>
        <div class="group-what"><p><code class="class">${group.errorClass ?? 'no class'}</code></p><p class="group-reason">${group.reason || 'without a reason'}</p>
          <p class="muted small-text">${count(group.customers)} ${group.customers === 1 ? 'customer' : 'customers'} · first <${Ago} at=${group.firstFailedAt} /> · last <${Ago} at=${group.lastFailedAt} /></p></div>
        <${Spark} errorClass=${group.errorClass} />
        <p class="group-actions"><a class="button small" href=${href('orders', { q: queryOf(group) })}>Open list</a>
          <a class="button small quiet" href=${href(`orders/${group.latestOrderId}`, { q: queryOf(group) })}>Latest</a>
          ${may('orders:manage') && html`<button type="button" class="small" onClick=${() => redrive(filterOf(group))}>Redrive…</button>`}</p>
      </li>`)}</ul>`;
}

/** The failures of an error class in the last hours, one bar for each step; nothing if there were none. */
function Spark({ errorClass }) {
  const counts = (stats.value?.buckets ?? []).map(({ failedByClass }) => failedByClass.find((each) => each.errorClass === errorClass)?.count ?? 0);
  const most = Math.max(0, ...counts);
  if (!errorClass || most === 0) return null;
  const words = `${errorClass} in the last 6 h: at most ${count(most)} in ${duration(stats.value.stepSeconds * 1_000)}`;
  return html`<p class="spark"><svg viewBox="0 0 ${counts.length} 24" preserveAspectRatio="none" role="img" aria-label=${words}>
    <path d=${counts.map((value, n) => (value > 0 ? `M${n + 0.1} 24V${(24 - Math.max(1.5, (value / most) * 24)).toFixed(1)}h0.8V24Z` : '')).join('')} /></svg>
    <span class="muted" aria-hidden="true">6 h</span><span class="muted" aria-hidden="true">now</span></p>`;
}
