// The workers of the last hour, and what the open one is doing.

import { count } from '../app/format.js';
import { html } from '../app/html.js';
import { Icon } from '../app/icons.js';
import { Ago, Facts, Head, Read, Tag, When, seconds } from './parts.js';
import { Reader } from './reader.js';
import { go, href, route } from './router.js';

export const workers = new Reader('workers?limit=100', 5_000);
const worker = new Reader(() => `workers/${encodeURIComponent(opened)}`, 5_000);
let opened = null;

/** The names of the workers that were read, for completions. A name is the key of a worker. */
export const seenWorkers = () => (workers.value?.workers ?? []).map(({ name }) => name).filter(Boolean);

export function enter() {
  workers.start();
  if (route.id !== opened) { opened = route.id; worker.clear(); }
  if (opened) worker.start(); else worker.stop();
}

export function leave() { workers.stop(); worker.stop(); opened = null; }

const STATES = { connected: ['good', 'Connected'], draining: ['warn', 'Draining'], disconnected: ['idle', 'Disconnected'], lost: ['bad', 'Lost'] };
const State = ({ state }) => { const [tone, name] = STATES[state] ?? ['idle', state]; return html`<${Tag} tone=${tone}>${name}</${Tag}>`; };

export const WorkersView = () => html`
  <div class="with-panel ${route.id ? 'is-open' : ''}">
    <section class="view-main" aria-labelledby="view-title">
      <${Head} title="Workers" />
      <${Read} reader=${workers} what="workers" api="GET /workers">${(value) => html`<${Table} rows=${value.workers} />`}</${Read}>
    </section>
    ${route.id && html`<aside class="panel" aria-label="Worker"><a class="close" href=${href('workers')} aria-label="Close the worker"><${Icon} name="close" /></a>
      <${Read} reader=${worker} what="the worker" api="GET /workers/{id}">${(value) => html`<${Known} worker=${value} />`}</${Read}></aside>`}
  </div>`;

const perMinute = (value) => (value === null || value === undefined ? '–' : value < 10 && value % 1 ? value.toFixed(1) : count(Math.round(value)));
const slots = ({ inFlight, slots: all }) => `${count(inFlight)}${all ? ` / ${count(all)}` : ''}`;

function Table({ rows }) {
  if (rows.length === 0) return html`<div class="card none-left"><p><b>No worker was connected within the last hour.</b></p><p class="muted">Orders are accepted and wait. Start one with <code>orders processor</code>.</p></div>`;
  return html`<div class="table-wrap"><table class="table workers"><thead><tr><th>State</th><th>Worker</th><th class="c-wide">Host</th><th class="c-wide">Version</th><th class="c-wide">Gateway</th><th class="c-wide">Kinds</th><th class="num">In flight</th><th class="num">Done/min</th><th class="num c-wide">Failed/min</th><th class="num c-wide">p95</th><th class="num">Since</th></tr></thead>
    <tbody>${rows.map((each) => html`<tr key=${each.name} class=${route.id === each.name ? 'is-current' : ''} onClick=${(event) => { if (!event.target.closest('a')) go(`workers/${encodeURIComponent(each.name)}`); }}>
      <td><${State} state=${each.state} /></td><td><a href=${href(`workers/${encodeURIComponent(each.name)}`)}>${each.name}</a></td><td class="c-wide">${each.host ?? ''}</td><td class="c-wide">${each.version ?? ''}</td><td class="c-wide">${each.gateway ?? ''}</td><td class="c-wide">${(each.kinds ?? []).join(', ')}</td>
      <td class="num">${slots(each)}</td><td class="num">${perMinute(each.completedPerMinute)}</td><td class="num c-wide">${perMinute(each.failedPerMinute)}</td><td class="num c-wide">${seconds(each.handling?.p95Seconds)}</td>
      <td class="num"><${Ago} at=${each.state === 'connected' ? each.connectedAt : each.lastSeenAt} /></td></tr>`)}</tbody></table></div>`;
}

const Known = ({ worker: each }) => html`
  <p><${State} state=${each.state} /></p><h2 class="order-title">${each.name}</h2>
  <${Facts} pairs=${[['Host', each.host], ['Version', each.version], ['Gateway', each.gateway], each.kinds?.length > 0 && ['Kinds', each.kinds.join(', ')], ['Connected', html`<${When} at=${each.connectedAt} />`], ['Last seen', html`<${Ago} at=${each.lastSeenAt} />`],
    ['In flight', slots(each)], ['Completed', `${perMinute(each.completedPerMinute)} per minute`], ['Failed', `${perMinute(each.failedPerMinute)} per minute`],
    each.handling && ['Handling', `p50 ${seconds(each.handling.p50Seconds)}, p95 ${seconds(each.handling.p95Seconds)}`]]} />
  <p class="related"><a href=${href('orders', { q: `worker:${/\s/.test(each.name) ? `"${each.name}"` : each.name}` })}>Orders of this worker</a></p>
  <h3>In flight</h3>
  ${each.orders?.length > 0 ? html`<ul class="in-flight">${each.orders.map(({ orderId, attempt, startedAt, leaseEndsAt }) => html`<li key=${orderId}><a href=${href(`orders/${orderId}`)}><code>${orderId}</code></a>
    <span class="muted">attempt ${count(attempt)}, started <${Ago} at=${startedAt} />, lease until <time dateTime=${leaseEndsAt} title=${leaseEndsAt}>${new Date(leaseEndsAt).toLocaleTimeString()}</time></span></li>`)}</ul>` : html`<p class="muted">It is processing no order.</p>`}`;
