// The open order: what it is, what can be done with it, and every step of its life.

import { announce } from './announce.js';
import { CANCEL, CREATE_LINK, REDRIVE, Refused, request } from './api.js';
import { html } from './html.js';
import { isAuthenticated, learn, openOrder, set, state } from './state.js';
import { count, dateTime, money, title, waiting } from './format.js';
import { Pill } from './list.js';
import { AttemptProgress } from './progress.js';
import { wide } from './screen.js';
import { Timeline } from './timeline.js';

export function Detail() {
  const { open } = state;
  if (!open) return html`<aside class="detail none"><p>Choose an order to see its timeline.</p></aside>`;
  const order = openOrder();
  return html`
    <aside class="card detail" aria-label="Order" key=${open.id}>
      <a class="close" href="#/" aria-label="Close the order" title="Close (Esc)" ref=${focusWhenCovering}>×</a>
      ${order ? html`<${Known} order=${order} open=${open} />`
        : html`<p class="notice muted">${open.missing ? 'There is no order with this id.' : (open.error ?? 'Reading the order…')}</p>`}
    </aside>`;
}

function Known({ order, open: { steps, progress, error } }) {
  const waits = waiting(order, state.queue);
  return html`
    <p class="big"><${Pill} status=${order.status} /></p>
    <h2>${title(order)}</h2>
    <p class="sum"><b>${money(order.total, order.currency)}</b>${order.customer && html` <span class="muted">for ${order.customer}</span>`}</p>
    ${order.status === 'PROCESSING' && html`<${AttemptProgress} progress=${progress} />`}
    <${Actions} order=${order} />
    <${Items} order=${order} />
    <dl>
      <div><dt>Id</dt><dd><code>${order.id}</code></dd></div>
      ${order.externalReference && html`<div><dt>Reference</dt><dd>${order.externalReference}</dd></div>`}
      <div><dt>Created</dt><dd>${dateTime(order.createdAt)}</dd></div>
      ${order.priority !== 'NORMAL' && html`<div><dt>Priority</dt><dd>${order.priority.toLowerCase()}</dd></div>`}
      ${order.processAfter && html`<div><dt>Not before</dt><dd>${dateTime(order.processAfter)}</dd></div>`}
      ${waits && html`<div><dt>Next</dt><dd class="waits">${waits}</dd></div>`}
      <div><dt>Attempts</dt><dd>${count(order.attempt)}</dd></div>
      ${order.failures > 0 && html`<div><dt>Failures</dt><dd>${count(order.failures)} of at most ${count(order.maxAttempts)}</dd></div>`}
      ${order.errorClass && html`<div><dt>Error class</dt><dd><code>${order.errorClass}</code></dd></div>`}
      <div><dt>Customer</dt><dd><a href="track/${order.id}" onClick=${(event) => openTracking(event, order)}>Tracking page</a></dd></div>
    </dl>
    <h3>Timeline</h3>
    ${error && html`<p class="error" role="alert">The timeline could not be read: ${error}</p>`}
    ${steps.length > 0 ? html`<${Timeline} steps=${steps} />` : !error && html`<p class="muted">Reading the timeline…</p>`}`;
}

/** The number of line items that are shown; the others are folded, so that the timeline stays in sight. */
const SHOWN_ITEMS = 8;

function Items({ order }) {
  const [shown, folded] = [order.lineItems.slice(0, SHOWN_ITEMS), order.lineItems.slice(SHOWN_ITEMS)];
  return html`
    <${Lines} lines=${shown} currency=${order.currency} />
    ${folded.length > 0 && html`<details class="more"><summary>${count(folded.length)} more line items</summary>
      <${Lines} lines=${folded} currency=${order.currency} /></details>`}`;
}

const Lines = ({ lines, currency }) => html`
  <ul class="items">
    ${lines.map((line, index) => html`
      <li key=${index}><span>${count(line.quantity)} × ${line.item}</span>
        <span class="muted">${money(line.price, currency)} each</span></li>`)}
  </ul>`;

const ACTIONS = {
  cancel: {
    mutation: CANCEL, allowed: (status) => status === 'PENDING' || status === 'PROCESSING',
    button: 'Cancel order', ask: 'Why is it cancelled?', no: 'Keep it', done: 'Order cancelled',
  },
  redrive: {
    mutation: REDRIVE, allowed: (status) => status === 'FAILED',
    button: 'Redrive order', ask: 'Why is it tried again?', no: 'Leave it', done: 'Order is tried again',
    who: { requestedBy: 'the page' },
  },
};

/** Cancel and redrive ask for an optional reason first, so that nothing happens by a slip. */
function Actions({ order }) {
  const kind = Object.keys(ACTIONS).find((name) => ACTIONS[name].allowed(order.status));
  const asked = state.action;
  if (asked && asked.kind === kind) return html`<${Ask} order=${order} action=${ACTIONS[kind]} />`;
  return html`
    ${asked?.error && html`<p class="error" role="alert">${asked.error}</p>`}
    ${kind && html`<p class="actions"><button type="button" class=${kind} onClick=${() => set({ action: { kind } })}>${ACTIONS[kind].button}</button></p>`}`;
}

function Ask({ order, action }) {
  const { busy, error } = state.action;
  const submit = (event) => {
    event.preventDefault();
    if (!busy) act(order, action, event.currentTarget.elements.reason.value.trim());
  };
  return html`
    <form class="ask" onSubmit=${submit} autocomplete="off">
      <label for="reason">${action.ask} <span class="hint">optional</span></label>
      <input id="reason" name="reason" maxlength="500" ref=${focusOnce} />
      <p class="actions">
        <button class=${state.action.kind} aria-disabled=${busy}>${action.button}</button>
        <button type="button" class="quiet" onClick=${() => set({ action: null })}>${action.no}</button>
      </p>
      ${error && html`<p class="error" role="alert">${error}</p>`}
    </form>`;
}

// Both are the same function at every redraw, so preact calls them only when the element appears.
const focusOnce = (field) => field?.focus();
const focusWhenCovering = (link) => { if (!wide.matches) link?.focus(); };

async function act(order, action, reason) {
  const { kind } = state.action;
  const answer = (result) => { if (state.open?.id === order.id) set({ action: result }); };
  answer({ kind, busy: true });
  try {
    const input = { orderId: order.id, reason: reason || null, ...action.who };
    const { payload } = await request(action.mutation, { input });
    if (payload.order) learn(payload.order);
    const refusal = payload.userErrors[0]?.message;
    answer(refusal ? { kind, error: refusal } : null);
    if (!refusal) announce(`${action.done}.`);
  } catch (error) {
    answer({ kind, error: error instanceof Refused ? error.message : 'No answer from the server. Look at the timeline before you try again.' });
  }
}

/** Opens the tracking page. On a server with authentication it needs a link, whose address can be sent to the customer. */
async function openTracking(event, order) {
  if (!isAuthenticated()) return;
  event.preventDefault();
  try {
    const { payload } = await request(CREATE_LINK, { id: order.id });
    if (payload.trackingLink) location.assign(`track/${order.id}#t=${payload.trackingLink.token}`);
    else set({ action: { kind: 'track', error: payload.userErrors[0].message } });
  } catch (error) {
    set({ action: { kind: 'track', error: error instanceof Refused ? error.message : 'No answer from the server. Try again.' } });
  }
}
