// The live tail of all changes: with a filter, a freeze, and a file of what is shown.

import { count, dateTime, time } from '../app/format.js';
import { html } from '../app/html.js';
import { Icon } from '../app/icons.js';
import { changed, state } from '../app/state.js';
import { onEvent } from './live.js';
import { Head, Pill, download } from './parts.js';
import { href, route } from './router.js';

/** Events that are kept, and those that are shown. */
const MOST = 5_000;
const SHOWN = 200;
const DRAW_MS = 200;

const STATUSES = ['pending', 'processing', 'completed', 'failed', 'cancelled'];

const tail = { events: [], frozen: null, missed: 0, text: '', statuses: new Set() };
let soon = null;

onEvent((event) => {
  if (event) tail.events.unshift(event);
  else tail.missed += 1;
  if (tail.events.length > MOST) tail.events.length = MOST;
  if (route.view === 'events' && !tail.frozen) soon ??= setTimeout(() => { soon = null; changed(); }, DRAW_MS);
});

export const enter = () => {};
export const leave = () => { tail.frozen = null; };

function matches(event) {
  if (tail.statuses.size > 0 && !tail.statuses.has(event.status.toLowerCase())) return false;
  const text = tail.text.trim().toLowerCase();
  return !text || [event.orderId, event.reason, event.errorClass, event.worker].some((value) => value?.toLowerCase().includes(text));
}

const found = () => (tail.frozen ?? tail.events).filter(matches);

function turn(status) {
  if (!tail.statuses.delete(status)) tail.statuses.add(status);
  changed();
}

function freeze() {
  tail.frozen = tail.frozen ? null : [...tail.events];
  changed();
}

const save = () => download(`order-events-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.ndjson`, 'application/x-ndjson', found().map((event) => JSON.stringify(event)).join('\n') + '\n');

export function EventsView() {
  const events = found();
  const waiting = tail.frozen ? tail.events.length - tail.frozen.length : 0;
  return html`<section class="view-main" aria-labelledby="view-title">
    <${Head} title="Events">
      <button type="button" class="small" aria-pressed=${tail.frozen ? 'true' : 'false'} onClick=${freeze}><${Icon} name=${tail.frozen ? 'play' : 'pause'} /> ${tail.frozen ? `Continue${waiting > 0 ? ` (${count(waiting)} new)` : ''}` : 'Freeze'}</button>
      <button type="button" class="small" aria-disabled=${events.length === 0} onClick=${() => { if (events.length > 0) save(); }}><${Icon} name="download" /> Download</button></${Head}>
    <div class="filters"><input type="search" id="search" aria-label="Filter events" placeholder="Filter: an order id, an error class, a worker or a reason" value=${tail.text} onInput=${(event) => { tail.text = event.currentTarget.value; changed(); }} />
      <div class="segments" role="group" aria-label="Statuses">${STATUSES.map((status) => html`<button type="button" key=${status} aria-pressed=${tail.statuses.has(status) ? 'true' : 'false'} onClick=${() => turn(status)}>${status}</button>`)}</div></div>
    <p class="muted small-text">${events.length === 0 ? '' : `${count(events.length)} since this page was opened${events.length > SHOWN ? `, the latest ${SHOWN} are shown` : ''}.`}${tail.missed > 0 ? ` Some were missed while the connection was interrupted or busy (${count(tail.missed)} ${tail.missed === 1 ? 'time' : 'times'}).` : ''}</p>
    <div class="table-wrap">${events.length > 0 ? html`<table class="table events"><thead><tr><th>Time</th><th>Status</th><th>Order</th><th class="num">Seq.</th><th class="num">Attempt</th><th class="c-wide">Worker</th><th>Why</th></tr></thead>
      <tbody>${events.slice(0, SHOWN).map((event) => html`<tr key=${`${event.orderId} ${event.sequence}`}><td><time dateTime=${event.occurredAt} title=${dateTime(event.occurredAt)}>${time(event.occurredAt)}</time></td><td><${Pill} status=${event.status} /></td>
        <td><a href=${href(`orders/${event.orderId}`)}><code>${event.orderId}</code></a></td><td class="num">${event.sequence}</td><td class="num">${event.attempt || ''}</td><td class="c-wide">${event.worker ?? ''}</td><td class="c-why">${[event.errorClass, event.reason].filter(Boolean).join(' · ')}</td></tr>`)}</tbody></table>`
    : html`<p class="note muted">${state.connection === 'live' ? (tail.events.length > 0 ? 'No event matches the filter.' : 'Listening. Changes of orders appear here as they happen.') : 'Connecting…'}</p>`}</div>
  </section>`;
}

export const keys = {
  '/': ['Filter', () => document.getElementById('search')?.focus()],
  f: ['Freeze or continue', freeze],
};
