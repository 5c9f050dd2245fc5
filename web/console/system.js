// The system: gateways, database, Redis and the settings with their origin.

import { html } from '../app/html.js';
import { at } from '../app/root.js';
import { changed } from '../app/state.js';
import { Ago, Facts, Head, Read, When, seconds } from './parts.js';
import { Reader } from './reader.js';

const system = new Reader('system', 10_000);
let text = '';

export const enter = () => system.start();
export const leave = () => system.stop();

export const SystemView = () => html`<section class="view-main" aria-labelledby="view-title">
  <${Head} title="System"><a class="button small" href=${at('readyz?verbose')}>Readiness</a><a class="button small" href=${at('metrics')}>Metrics</a></${Head}>
  <${Read} reader=${system} what="the parts of the system" api="GET /system">${(value) => html`<${Known} value=${value} />`}</${Read}>
</section>`;

function Known({ value: { gateways, database, redis, settings } }) {
  const wanted = text.trim().toLowerCase();
  const shown = (settings ?? []).filter(({ name, value, source }) => !wanted || [name, String(value), source].some((each) => each?.toLowerCase().includes(wanted)));
  return html`
    <div class="cards">
      <div class="card pad"><h2>Database</h2><${Facts} pairs=${[['Server', database.version ?? 'does not answer'], ['Latency', seconds(database.latencySeconds)]]} /></div>
      <div class="card pad"><h2>Redis</h2>${redis ? html`<${Facts} pairs=${[['Server', redis.version ?? 'does not answer'], ['Latency', seconds(redis.latencySeconds)]]} />` : html`<p class="muted">Not used: queue and bus are in memory.</p>`}</div>
    </div>
    <h2 class="section-title">Gateways</h2>
    <div class="table-wrap"><table class="table"><thead><tr><th>Gateway</th><th>Version</th><th class="c-wide">Host</th><th class="num c-wide">Started</th><th class="num">Last seen</th></tr></thead>
      <tbody>${(gateways ?? []).map((gateway) => html`<tr key=${gateway.id}><td><code>${gateway.id}</code></td><td>${gateway.version}</td><td class="c-wide">${gateway.host ?? ''}</td><td class="num c-wide"><${When} at=${gateway.startedAt} /></td><td class="num"><${Ago} at=${gateway.lastSeenAt} /></td></tr>`)}</tbody></table></div>
    <div class="section-head"><h2 class="section-title">Settings of this gateway</h2><input type="search" aria-label="Filter settings" placeholder="Filter" value=${text} onInput=${(event) => { text = event.currentTarget.value; changed(); }} /></div>
    <div class="table-wrap"><table class="table settings"><thead><tr><th>Name</th><th>Value</th><th>From</th></tr></thead>
      <tbody>${shown.map((setting) => html`<tr key=${setting.name}><td><code>${setting.name}</code></td><td class="wrap"><code>${setting.value === null || setting.value === undefined ? '–' : String(setting.value)}</code></td><td class="muted">${setting.source ?? ''}</td></tr>`)}</tbody></table></div>`;
}
