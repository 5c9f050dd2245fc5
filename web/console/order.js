// The open order: what it waits for or why it failed, what can be done, its items and its timeline.

import { at } from '../app/root.js';
import { count, duration, sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { AttemptProgress } from '../app/progress.js';
import { Icon } from '../app/icons.js';
import { rest } from '../app/rest.js';
import { changed, isAuthenticated, may } from '../app/state.js';
import { Timeline } from '../app/timeline.js';
import { onEvent } from './live.js';
import { Metadata } from './metadata.js';
import { Notes } from './notes.js';
import { learnOrder } from './orders.js';
import { Facts, Failure, Loading, Pill, When, amount, copy, say } from './parts.js';
import { isMissing, words } from './reader.js';
import { ReplaceForm, canReplace, isReplacing, startReplacing } from './replace.js';
import { withTerm } from './query.js';
import { href } from './router.js';

/** Line items that are shown; the others are folded, so that the timeline stays in sight. */
const SHOWN_ITEMS = 5;
/** While events come, the order is read no more often than this. */
const READ_MS = 300;
/** The order is read this often while a worker reports its progress, which is no event. */
const PROGRESS_MS = 2_000;

export const order = { id: null, value: null, events: null, notes: null, error: null, isUnknown: false, action: null };

let timer = null;
let progressTimer = null;

/** Opens an order; `null` closes it. */
export function openOrder(id) {
  if (order.id === id) return;
  clearTimeout(timer);
  timer = null;
  Object.assign(order, { id, value: null, events: null, notes: null, error: null, isUnknown: false, action: null });
  if (id) read();
}

async function read() {
  timer = null;
  const { id } = order;
  const path = `orders/${encodeURIComponent(id)}`;
  try {
    const [value, events, notes] = await Promise.all([rest('GET', path), rest('GET', `${path}/events`), rest('GET', `${path}/notes`).catch(() => null)]);
    if (order.id !== id) return;
    Object.assign(order, { value, events, notes, error: null });
    learnOrder(value);
    if (value.status === 'processing') {
      clearTimeout(progressTimer);
      progressTimer = setTimeout(() => { if (order.id === id) timer ??= setTimeout(read, 0); }, PROGRESS_MS);
    }
  } catch (error) {
    if (order.id !== id) return;
    order.isUnknown = error.status === 404 || error.status === 400;
    order.error = order.isUnknown ? null : words(error);
  }
  changed();
}

onEvent((event) => {
  if (order.id && (!event || event.orderId === order.id)) timer ??= setTimeout(read, READ_MS);
});

const focusOnNarrow = (link) => { if (link && !matchMedia('(min-width: 75rem)').matches) link.focus(); };

export function OrderPanel({ close }) {
  const { id, value, error, isUnknown } = order;
  return html`
    <aside class="panel order-panel" aria-label="Order" key=${id}>
      <a class="close" href=${close} aria-label="Close the order" title="Close (Esc)" ref=${focusOnNarrow}><${Icon} name="close" /></a>
      ${error && html`<${Failure} error=${error} />`}
      ${isUnknown && html`<p class="note muted">There is no order with the id <code>${id}</code>.</p>`}
      ${value ? html`<${Known} order=${value} />` : !error && !isUnknown && html`<${Loading} what="the order" />`}
    </aside>`;
}

function Known({ order: each }) {
  const [first, ...more] = each.lineItems;
  return html`
    <p><${Pill} status=${each.status} /></p>
    <h2 class="order-title">${first.item}${more.length > 0 ? html` <span class="muted">and ${count(more.length)} more</span>` : ''}</h2>
    <p class="sum"><b>${amount(each)}</b>${each.customer && html` <span class="muted">for ${each.customer}</span>`}</p>
    <${Why} order=${each} />
    ${each.status === 'processing' && html`<${AttemptProgress} progress=${each.progress} />`}
    <${Actions} order=${each} />
    <${Items} order=${each} />
    <${Facts} pairs=${[
    ['Id', html`<code>${each.id}</code>`],
    ['Code', html`<code>${each.code}</code>`],
    ['Reference', each.externalReference],
    each.replaces && ['Replaces', html`<a href=${href(`orders/${each.replaces}`)}><code>${each.replaces}</code></a>`],
    each.replacedBy && ['Replaced by', html`<a href=${href(`orders/${each.replacedBy}`)}><code>${each.replacedBy}</code></a>`],
    ['Created', html`<${When} at=${each.createdAt} />`],
    ['Changed', html`<${When} at=${each.updatedAt} />`],
    each.priority !== 'normal' && ['Priority', each.priority],
    each.kind !== 'default' && ['Kind', html`<a href=${href('orders', { q: withTerm('', 'kind', each.kind) })}>${each.kind}</a>`],
    each.processAfter && ['Not before', html`<${When} at=${each.processAfter} />`],
    ['Attempts', `${count(each.attempt)}${each.failures > 0 ? `, ${count(each.failures)} of at most ${count(each.maxAttempts)} failed` : ''}`],
    ['Worker', each.worker],
    each.traceparent && ['Trace', html`<code>${each.traceparent.slice(3, 35)}</code>`],
  ]} />
    <${Metadata} order=${each} onChange=${(id, metadata) => { if (order.id === id && order.value) order.value = { ...order.value, metadata }; }} />
    <${Output} name="Result" value=${each.result} />
    <${Output} name="Checkpoint" value=${each.checkpoint} />
    <${Related} order=${each} />
    <h3>Timeline</h3>
    ${order.events ? html`<${Timeline} steps=${order.events.map((event) => ({ ...event, status: event.status.toUpperCase(), previousStatus: event.previousStatus?.toUpperCase() ?? null }))} />` : html`<${Loading} what="the timeline" />`}
    <${Notes} id=${each.id} notes=${order.notes} onAdd=${(id, note) => { if (order.id === id) order.notes = [...order.notes ?? [], note]; }} />
    <details class="raw"><summary>Raw JSON</summary><pre tabindex="0"><code>${JSON.stringify({ order: each, events: order.events }, null, 2)}</code></pre></details>`;
}

/** JSON that the worker has produced. */
const Output = ({ name, value }) => (value === undefined ? null : html`
  <details class="raw"><summary>${name}</summary><pre tabindex="0"><code>${JSON.stringify(value, null, 2)}</code></pre></details>`);

const WAITS = { worker: 'Waits for a free worker', retry: 'Waits for its retry', schedule: 'Waits for its time', pause: 'Waits: the queue is paused' };

/** What an order waits for and until when, or why it has failed. */
function Why({ order: { status, waitsFor, nextAttemptAt, errorClass, reason, failures, maxAttempts } }) {
  const left = nextAttemptAt ? new Date(nextAttemptAt) - Date.now() : 0;
  const next = left > 0 ? html`, next attempt <b>in ${duration(Math.ceil(left / 1_000) * 1_000)}</b>` : '';
  const cause = (errorClass || reason) && html`<span class="cause">${errorClass && html`<code>${errorClass}</code> `}${reason}</span>`;
  if (status === 'pending') return html`<div class="why-box" data-tone="warn"><p>${WAITS[waitsFor] ?? 'Waits'}${next}.</p>${failures > 0 && html`<p class="small-text">Failure ${count(failures)} of at most ${count(maxAttempts)}</p>`}${cause}</div>`;
  if (status === 'processing') return html`<div class="why-box" data-tone="busy"><p>A worker is processing it.</p></div>`;
  if (status === 'failed') return html`<div class="why-box" data-tone="bad"><p><b>Failed</b> after ${count(failures || maxAttempts)} ${(failures || maxAttempts) === 1 ? 'attempt' : 'attempts'}.</p>${cause}</div>`;
  if (status === 'cancelled') return html`<div class="why-box" data-tone="idle"><p><b>Cancelled.</b></p>${cause}</div>`;
  return null;
}

const ACTIONS = {
  cancel: { can: ({ status }) => ['pending', 'processing'].includes(status) && may('orders:write'), button: 'Cancel order', ask: 'Why is it cancelled?', no: 'Keep it', done: 'The order is cancelled.', tone: 'cancel' },
  redrive: { can: ({ status }) => status === 'failed' && may('orders:manage'), button: 'Redrive order', ask: 'Why is it tried again?', no: 'Leave it', done: 'The order is tried again.', tone: 'primary' },
};

function Actions({ order: each }) {
  const kind = Object.keys(ACTIONS).find((name) => ACTIONS[name].can(each));
  const { action } = order;
  if (isReplacing(each.id)) return html`<${ReplaceForm} order=${each} />`;
  if (action && action.kind === kind) return html`<${Ask} order=${each} kind=${kind} action=${action} />`;
  const url = at(`orders/${each.id}`);
  const curl = `curl ${isAuthenticated() ? '-H "Authorization: Bearer $ORDERS_TOKEN" ' : ''}'${url}'`;
  return html`
    <p class="actions">
      ${kind && html`<button type="button" class=${ACTIONS[kind].tone} onClick=${() => { order.action = { kind }; changed(); }}>${ACTIONS[kind].button}…</button>`}
      ${canReplace(each) && html`<button type="button" class="quiet" onClick=${() => startReplacing(each)}>Replace order…</button>`}
      <span><button type="button" class="quiet small" onClick=${() => copy(each.id, 'Id')}><${Icon} name="copy" /> Id</button>
      <button type="button" class="quiet small" onClick=${() => copy(new URL(href(`orders/${each.id}`), location.href).href, 'Link')}><${Icon} name="copy" /> Link</button>
      <button type="button" class="quiet small" onClick=${() => copy(curl, 'Command')}><${Icon} name="copy" /> curl</button></span>
    </p>
    ${action?.error && html`<p class="error" role="alert">${sentence(action.error)}</p>`}`;
}

function Ask({ order: each, kind, action }) {
  const { ask, button, no, tone } = ACTIONS[kind];
  const submit = (event) => {
    event.preventDefault();
    if (!action.busy) act(each, kind, event.currentTarget.elements.namedItem('reason').value.trim());
  };
  return html`<form class="ask" onSubmit=${submit} autocomplete="off">
    <label for="reason">${ask} <span class="hint">optional</span></label>
    <input id="reason" name="reason" maxlength="500" ref=${focusOnce} onKeyDown=${(event) => { if (event.key === 'Escape') { event.stopPropagation(); order.action = null; changed(); } }} />
    <p class="actions"><button class=${tone} aria-disabled=${action.busy}>${button}</button>
      <button type="button" class="quiet" onClick=${() => { order.action = null; changed(); }}>${no}</button></p>
    ${action.error && html`<p class="error" role="alert">${sentence(action.error)}</p>`}
  </form>`;
}

const focusOnce = (element) => element?.focus();

async function act(each, kind, reason) {
  order.action = { kind, busy: true };
  changed();
  try {
    const value = await rest('POST', `orders/${each.id}/${kind}`, reason ? { reason } : {});
    if (order.id === each.id) {
      if (value?.id) { order.value = value; learnOrder(value); }
      order.action = null;
      timer ??= setTimeout(read, 0);
    }
    say(ACTIONS[kind].done);
  } catch (error) {
    order.action = { kind, error: words(error) };
  }
  changed();
}

function Items({ order: each }) {
  const [shown, folded] = [each.lineItems.slice(0, SHOWN_ITEMS), each.lineItems.slice(SHOWN_ITEMS)];
  const lines = (items) => html`<ul class="items">${items.map((line, n) => html`<li key=${n}><span>${count(line.quantity)} × ${line.item}</span><span class="muted">${amount({ total: line.price, currency: each.currency })} each</span></li>`)}</ul>`;
  return html`${lines(shown)}${folded.length > 0 && html`<details class="more"><summary>${count(folded.length)} more line items</summary>${lines(folded)}</details>`}`;
}

const Related = ({ order: { customer, errorClass, id } }) => html`<p class="related">
  ${customer && html`<a href=${href('orders', { q: withTerm('', 'customer', customer) })}>Orders of this customer</a>`}
  ${errorClass && html`<a href=${href('orders', { q: withTerm('', 'class', errorClass) })}>Orders with this error</a>`}
  ${may('orders:write') && html`<a href=${at(`track/${id}`)} onClick=${(event) => openTracking(event, id)}>Tracking page</a>`}
</p>`;

/** On a server with authentication, the tracking page needs a link. */
async function openTracking(event, id) {
  if (!isAuthenticated()) return;
  event.preventDefault();
  try {
    const { token } = await rest('POST', `orders/${id}/tracking-links`, {});
    location.assign(at(`track/${id}#t=${token}`));
  } catch (error) {
    say(isMissing(error) ? 'This server has no tracking links.' : sentence(words(error)), 'bad');
  }
}
