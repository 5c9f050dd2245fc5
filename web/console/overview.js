// The overview: whether all is well and why not, the numbers of now, and the charts of the last hours.

import { count } from '../app/format.js';
import { html } from '../app/html.js';
import { may } from '../app/state.js';
import { at } from '../app/root.js';
import { Chart, forgetPointer } from './charts.js';
import { onEvent, onReconnect } from './live.js';
import { marksOf, startMarks, stopMarks } from './marks.js';
import { Ago, Failure, Head, Loading, Missing, Tag, seconds } from './parts.js';
import { Reader } from './reader.js';
import { href, route } from './router.js';

const WINDOWS = [['15m', '15 min'], ['1h', '1 h'], ['6h', '6 h']];
/** Error classes that have a colour; the others are one series. */
const CLASSES = 5;

export const health = new Reader('health', 5_000);
export const queue = new Reader('queue', 5_000);
const stats = new Reader(() => `stats?window=${windowName()}`, 10_000);

const windowName = () => (WINDOWS.some(([name]) => name === route.query.get('window')) ? route.query.get('window') : '1h');

let shownWindow = null;

export function enter() {
  if (shownWindow !== windowName()) { stats.clear(); forgetPointer(); shownWindow = windowName(); }
  stats.start();
  queue.start();
  startMarks();
  if (may('metrics:read')) health.start();
}

export function leave() {
  for (const reader of [health, queue, stats]) reader.stop();
  stopMarks();
}

let soon = null;
onEvent(() => {
  if (route.view === 'overview') soon ??= setTimeout(() => { soon = null; queue.read(); }, 1_000);
});
onReconnect(() => { if (route.view === 'overview') { queue.read(); stats.read(); } });

export const OverviewView = () => html`
  <section class="view-main" aria-labelledby="view-title">
    <${Head} title="Overview"><nav class="segments" aria-label="Time">${WINDOWS.map(([name, label]) => html`
      <a key=${name} href=${href('', { window: name === '1h' ? null : name })} aria-current=${name === windowName() ? 'true' : undefined}>${label}</a>`)}</nav></${Head}>
    <${Light} /><${Tiles} /><${Charts} />
  </section>`;

const LIGHTS = { ok: ['good', 'All is well'], degraded: ['warn', 'Degraded'], unavailable: ['bad', 'Not working'] };

/** What the state of the queue tells, for a server that does not explain its health. */
function known() {
  const state = queue.value;
  if (!state) return null;
  const reasons = [];
  if (state.paused) reasons.push({ code: 'paused', severity: 'warning', message: `processing is paused${state.pausedBy ? ` by ${state.pausedBy}` : ''}`, since: state.pausedAt });
  if (state.workers === 0) reasons.push({ code: 'no_workers', severity: 'critical', message: 'no worker is connected' });
  return { status: reasons.some(({ severity }) => severity === 'critical') ? 'unavailable' : reasons.length > 0 ? 'degraded' : 'ok', reasons };
}

function Light() {
  const value = health.value ?? ((health.isMissing || !may('metrics:read')) ? known() : null);
  if (!value) return health.error ? html`<${Failure} error=${health.error} />` : html`<div class="light card" data-tone="idle"><span class="lamp"></span><p><b>Reading the state…</b></p></div>`;
  const [tone, words] = LIGHTS[value.status] ?? ['idle', value.status];
  return html`
    <div class="light card" data-tone=${tone} role="status">
      <span class="lamp" aria-hidden="true"></span>
      <div><p><b>${words}</b>${value.reasons.length === 0 ? html` <span class="muted">Orders are accepted and processed.</span>` : ''}</p>
      ${value.reasons.length > 0 && html`<ul class="reasons">${value.reasons.map(({ code, severity, message, since, runbook }) => html`
        <li key=${code}><${Tag} tone=${severity === 'critical' ? 'bad' : 'warn'}>${severity}</${Tag}>
          <span class="reason-text">${message}${since ? html` <span class="muted">· <${Ago} at=${since} /></span>` : ''}</span>
          ${runbook && html`<a href=${at(runbook.replace(/^\//, ''))}>What to do</a>`}</li>`)}</ul>`}</div>
    </div>`;
}

const compact = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });

/** A number that fits into a tile. */
const short = (value) => (value < 100_000 ? count(value) : compact.format(value));

function Tiles() {
  const counts = queue.value?.counts;
  const total = stats.value?.totals;
  const capped = (name) => (counts ? `${short(counts[name])}${counts[name] >= counts.limit ? '+' : ''}` : '–');
  const tiles = [
    ['Ready', queue.value?.length ?? null, 'wait for a worker', href('orders', { q: 'waits:worker' })],
    ['Pending', capped('pending'), 'all that wait', href('orders', { q: 'status:pending' }), 'PENDING'],
    ['Processing', capped('processing'), 'at a worker', href('orders', { q: 'status:processing' }), 'PROCESSING'],
    ['Failed', capped('failed'), 'dead letters', href('dead-letters'), 'FAILED'],
    ['Workers', queue.value?.workers ?? null, 'connected', href('workers')],
    ['Wait p95', total?.wait ? seconds(total.wait.p95Seconds) : '–', total?.wait ? `p50 ${seconds(total.wait.p50Seconds)}` : 'for a worker'],
    ['Handling p95', total?.handling ? seconds(total.handling.p95Seconds) : '–', total?.handling ? `p50 ${seconds(total.handling.p50Seconds)}` : 'at a worker'],
  ];
  return html`${queue.error && html`<${Failure} error=${queue.error} />`}<ul class="tiles">${tiles.map(([name, value, hint, link, status]) => {
    const body = html`<span class="tile-name">${name}</span><b>${typeof value === 'number' ? short(value) : value ?? '–'}</b><span class="muted">${hint}</span>`;
    return html`<li key=${name} data-status=${status}>${link ? html`<a class="card tile" href=${link}>${body}</a>` : html`<div class="card tile">${body}</div>`}</li>`;
  })}</ul>`;
}

const number = (value) => (value === null || value === undefined ? '–' : value < 10 && value % 1 ? value.toFixed(1) : count(Math.round(value)));

function Charts() {
  if (stats.isMissing) return html`<${Missing} what="Charts" api="GET /stats" />`;
  if (!stats.value) return stats.error ? html`<${Failure} error=${stats.error} />` : html`<${Loading} what="the last hours" />`;
  const { buckets, totals, stepSeconds } = stats.value;
  const marks = marksOf(stats.value);
  const classes = totals.failedByClass.filter(({ errorClass }) => errorClass !== 'other').slice(0, CLASSES).map(({ errorClass }) => errorClass);
  const failed = (bucket, name) => bucket.failedByClass.find(({ errorClass }) => errorClass === name)?.count ?? 0;
  const failedSeries = [
    ...classes.map((name, n) => ({ name, tone: `class-${n}`, value: (bucket) => failed(bucket, name) })),
    { name: 'other', tone: 'class-other', value: (bucket) => bucket.failed - classes.reduce((sum, name) => sum + failed(bucket, name), 0) },
  ].filter((each) => each.name !== 'other' || buckets.some((bucket) => each.value(bucket) > 0));
  const percentiles = (name) => [
    { name: 'p50', tone: 'accent', isArea: true, value: (bucket) => bucket[name]?.p50Seconds ?? null },
    { name: 'p95', tone: 'warn', value: (bucket) => bucket[name]?.p95Seconds ?? null },
  ];
  const per = stepSeconds === 60 ? 'per minute' : `per ${seconds(stepSeconds)}`;
  return html`
    ${stats.error && html`<${Failure} error=${stats.error} />`}
    <div class="charts">
      <${Chart} title="Orders ${per}" buckets=${buckets} marks=${marks} format=${number} empty="No orders in this time" series=${[
        { name: 'accepted', tone: 'accent', isArea: true, value: (bucket) => bucket.accepted },
        { name: 'completed', tone: 'good', value: (bucket) => bucket.completed },
        { name: 'failed', tone: 'bad', value: (bucket) => bucket.failed },
      ]} />
      <${Chart} title="Failed by error class" buckets=${buckets} marks=${marks} isStacked format=${number} empty="No order has failed in this time" series=${failedSeries.length > 0 ? failedSeries : [{ name: 'failed', tone: 'class-0', value: (bucket) => bucket.failed }]} />
      <${Chart} title="Wait for a worker" buckets=${buckets} marks=${marks} format=${seconds} series=${percentiles('wait')} />
      <${Chart} title="Handling" buckets=${buckets} marks=${marks} format=${seconds} series=${percentiles('handling')} />
      <${Chart} title="Ready to start" buckets=${buckets} marks=${marks} format=${number} empty="No order has waited" series=${[{ name: 'orders', tone: 'accent', isArea: true, value: (bucket) => bucket.ready }]} />
      <${Chart} title="Retries and redrives ${per}" buckets=${buckets} marks=${marks} isStacked format=${number} empty="No attempt was repeated" series=${[
        { name: 'retried', tone: 'warn', value: (bucket) => bucket.retried }, { name: 'redriven', tone: 'accent', value: (bucket) => bucket.redriven }]} />
    </div>
    ${totals.complete === false && html`<p class="muted small-text">Grey time was observed by no gateway: what happened then is not known here.</p>`}
    ${marks.length > 0 && html`<ul class="marks" aria-label="Marks in the charts">${marks.map(({ at: time, tone, text }) => html`<li key=${`${time} ${text}`} data-tone=${tone}><${Ago} at=${time} /> ${text}</li>`)}</ul>`}
    <${Numbers} buckets=${buckets} />`;
}

/** The same numbers as a table, newest first. */
const Numbers = ({ buckets }) => html`<details class="numbers"><summary>The numbers as a table</summary>
  <div class="table-wrap" tabindex="0" role="region" aria-label="The numbers of the charts"><table class="table"><thead><tr>${['Time', 'Accepted', 'Completed', 'Failed', 'Retried', 'Redriven', 'Cancelled', 'Wait p50', 'Wait p95', 'Handling p50', 'Handling p95', 'Ready'].map((name) => html`<th key=${name} class=${name === 'Time' ? '' : 'num'}>${name}</th>`)}</tr></thead>
  <tbody>${[...buckets].reverse().map((bucket) => html`<tr key=${bucket.at}><td>${new Date(bucket.at).toLocaleTimeString()}</td>${bucket.complete === false ? html`<td colspan="11" class="muted">not observed</td>`
    : [bucket.accepted, bucket.completed, bucket.failed, bucket.retried, bucket.redriven, bucket.cancelled].map((value, n) => html`<td key=${n} class="num">${count(value)}</td>`).concat([bucket.wait?.p50Seconds, bucket.wait?.p95Seconds, bucket.handling?.p50Seconds, bucket.handling?.p95Seconds].map((value, n) => html`<td key=${`s${n}`} class="num">${seconds(value)}</td>`), html`<td class="num" key="ready">${bucket.ready ?? '–'}</td>`)}</tr>`)}</tbody></table></div></details>`;
