// The form that creates an order. The server decides what is valid; the page shows its words beside the fields.

import { announce } from './announce.js';
import { CREATE, Refused, byField, request } from './api.js';
import { html } from './html.js';
import { learn, set, state } from './state.js';
import { sentence, title } from './format.js';
import { wide } from './screen.js';

/** A field by its name. Not `elements.item`: that is a method of the collection. */
const field = (form, name) => form.elements.namedItem(name);

/** The fields' values as the API wants them, and what cannot even be sent. An empty field is left out. */
function read(form) {
  const text = (name) => field(form, name).value.trim() || null;
  const quantity = text('quantity') && Number(text('quantity'));
  const sendable = Number.isInteger(quantity) && Math.abs(quantity) < 2 ** 31;
  const errors = quantity === null || sendable ? {} : { quantity: 'quantity must be a whole number' };
  return { input: { item: text('item'), quantity, price: text('price'), customer: text('customer') }, errors };
}

async function submit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  if (state.form.busy) return;
  const { input, errors } = read(form);
  if (Object.keys(errors).length > 0) return refuse(form, errors);
  set({ form: { busy: true, errors: {} } });
  try {
    const { payload } = await request(CREATE, { input });
    if (!payload.order) return refuse(form, byField(payload.userErrors));
    set({ form: { busy: false, errors: {} } });
    learn(payload.order, { lit: true });
    announce(`Order created: ${title(payload.order)}.`);
    form.reset();
    field(form, 'item').focus();
    // Beside the list there is room for the timeline of the new order; on a phone it would cover the form.
    if (wide.matches) location.hash = `#/orders/${payload.order.id}`;
  } catch (error) {
    refuse(form, { '': error instanceof Refused
      ? error.message
      : 'No answer from the server. The order may have been accepted: check the list before you send it again.' });
  }
}

function refuse(form, errors) {
  const known = ['item', 'quantity', 'price', 'customer'];
  const other = Object.keys(errors).find((name) => name && !known.includes(name));
  if (other) errors[''] ??= errors[other];
  set({ form: { busy: false, errors } });
  const first = known.find((name) => errors[name]);
  if (first) field(form, first).focus();
}

export function NewOrder() {
  const { busy, errors } = state.form;
  return html`
    <section class="card new" aria-labelledby="new-title">
      <h2 id="new-title">New order</h2>
      <form onSubmit=${submit} novalidate autocomplete="off">
        <${Field} name="item" label="Item" placeholder="Laptop" />
        <${Field} name="quantity" label="Quantity" inputmode="numeric" value="1" />
        <${Field} name="price" label="Price each" inputmode="decimal" placeholder="1299.99" />
        <${Field} name="customer" label="Customer" hint="optional" placeholder="Ada Lovelace" />
        <button class="primary" aria-disabled=${busy}>${busy ? 'Creating…' : 'Create order'}</button>
      </form>
      ${errors[''] && html`<p class="error" role="alert">${sentence(errors[''])}</p>`}
    </section>`;
}

function Field({ name, label, hint, value = '', ...rest }) {
  const error = state.form.errors[name];
  return html`
    <div class="field ${name}">
      <label for=${name}>${label}${hint && html` <span class="hint">${hint}</span>`}</label>
      <input id=${name} name=${name} defaultValue=${value} ...${rest}
        aria-invalid=${error ? 'true' : undefined} aria-describedby=${error ? `${name}-error` : undefined} />
      ${error && html`<p class="error" id="${name}-error" role="alert">${sentence(error)}</p>`}
    </div>`;
}
