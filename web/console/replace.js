// The form that replaces the open order, while no worker has started it: the same order with other quantities and prices.

import { sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { rest } from '../app/rest.js';
import { changed, may } from '../app/state.js';
import { say } from './parts.js';
import { words } from './reader.js';
import { go } from './router.js';

/** The most line items that the form shows. */
const MAX_LINES = 20;

let form = null;

/** Whether an order can be replaced here. */
export const canReplace = ({ status, attempt, lineItems }) => status === 'pending' && attempt === 0 && lineItems.length <= MAX_LINES && may('orders:write');

/** The form of this order, if it is open. */
export const isReplacing = (id) => form?.id === id;

/** Opens the form. Its key makes a repetition after a lost answer no second replacement. */
export function startReplacing({ id, sequence, lineItems }) {
  const lines = lineItems.map(({ item, quantity, price }) => ({ item, quantity: String(quantity), price: String(price) }));
  form = { id, sequence, lines, key: crypto.randomUUID?.() ?? String(Math.random()), error: null, busy: false };
  changed();
}

function close() {
  form = null;
  changed();
}

export function ReplaceForm({ order: each }) {
  const { lines, error, busy } = form;
  const set = (n, name) => (event) => { lines[n][name] = event.currentTarget.value; };
  const onKeyDown = (event) => { if (event.key === 'Escape') { event.stopPropagation(); close(); } };
  const submit = (event) => { event.preventDefault(); if (!busy) send(each); };
  return html`<form class="ask replace-form" autocomplete="off" onSubmit=${submit} onKeyDown=${onKeyDown}>
    <p>The order is cancelled, and the new one is created with these line items. A line with the quantity 0 is left out.</p>
    ${lines.map((line, n) => html`<p class="pair" key=${n}>
      <input aria-label=${`Quantity of line ${n + 1}`} inputmode="numeric" maxlength="7" value=${line.quantity} onInput=${set(n, 'quantity')} />
      <input aria-label=${`Item of line ${n + 1}`} maxlength="200" value=${line.item} onInput=${set(n, 'item')} />
      <input aria-label=${`Price of line ${n + 1}`} inputmode="decimal" maxlength="30" value=${line.price} onInput=${set(n, 'price')} /></p>`)}
    <p class="actions"><button class="primary" aria-disabled=${busy}>Replace order</button>
      <button type="button" class="quiet" onClick=${close}>Keep it</button></p>
    ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
  </form>`;
}

/** Sends the whole order: what the form does not show stays as it is. */
async function send(each) {
  const { id, key, sequence, lines } = form;
  const lineItems = lines.map((line) => ({ ...line, item: line.item, quantity: Number(line.quantity) })).filter(({ quantity }) => quantity !== 0);
  const { currency, customer, externalReference, maxAttempts, priority, processAfter, metadata } = each;
  form.busy = true;
  changed();
  try {
    const created = await rest('POST', `orders/${id}/replace`, { lineItems, currency, customer, externalReference, maxAttempts, priority, processAfter, metadata }, { 'idempotency-key': key, 'if-match': `"${sequence}"` });
    form = null;
    say('The order is replaced.');
    go(`orders/${created.id}`);
  } catch (error) {
    if (form?.id === id) Object.assign(form, { busy: false, error: words(error) });
  }
  changed();
}
