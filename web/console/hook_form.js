// The form that creates a webhook endpoint. The server decides what is valid; the page shows its words beside the fields.

import { announce } from '../app/announce.js';
import { Refused } from '../app/api.js';
import { sentence } from '../app/format.js';
import { hooks, learnEndpoint, refresh } from './hooks.js';
import { html } from '../app/html.js';
import { go } from './router.js';
import { rest } from '../app/rest.js';
import { changed } from '../app/state.js';

/** The fields in their order on the page, with the names that the user sees. */
const LABELS = {
  url: 'URL', description: 'Description', types: 'Events', payload: 'Payload', format: 'Format', customer: 'Customer',
  currency: 'Currency', concurrency: 'Requests at once', ratePerSecond: 'Requests per second',
};
const OF_ORDERS = ['created', 'processing', 'retrying', 'completed', 'failed', 'cancelled', 'redriven'];

/** The members of the body. An empty field is left out. What is no number is sent as it is, and refused with a reason. */
function read(form) {
  const body = {};
  for (const name of Object.keys(LABELS)) {
    const text = form.elements.namedItem(name)?.value?.trim();
    if (text) body[name] = text;
  }
  for (const name of ['concurrency', 'ratePerSecond']) {
    if (Number.isFinite(Number(body[name]))) body[name] = Number(body[name]);
  }
  body.types = [...form.querySelectorAll('fieldset input:checked')].map(({ value }) => value);
  return body;
}

function put(members) {
  Object.assign(hooks.form, members);
  changed();
}

async function submit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  if (hooks.form.busy) return;
  const body = read(form);
  if (body.types.length === 0) {
    refuse(form, { types: 'are missing: choose at least one' });
    return;
  }
  put({ busy: true, errors: {} });
  try {
    const { endpoint, secret } = await rest('POST', 'webhooks', body);
    hooks.secret = { id: endpoint.id, value: secret, isRotated: false };
    hooks.endpoints = [...(hooks.endpoints ?? []), endpoint];
    learnEndpoint(endpoint);
    announce('Endpoint created. Its secret is shown once.');
    form.reset();
    form.querySelector('details').open = false;
    put({ busy: false, all: true });
    go(`webhooks/${endpoint.id}`);
  } catch (error) {
    refuse(form, error instanceof Refused ? { '': error.message, ...error.fields }
      : { '': 'No answer from the server. The endpoint may have been created: check the list before you send it again.' });
    refresh();
  }
}

function refuse(form, errors) {
  const first = Object.keys(LABELS).find((name) => errors[name]);
  // The words about the whole body only repeat those beside the fields.
  if (first) delete errors[''];
  put({ busy: false, errors });
  if (!first) return;
  if (first !== 'url') form.querySelector('details').open = true;
  const field = form.elements.namedItem(first) ?? form.querySelector('fieldset input');
  field.focus();
}

export function NewHook() {
  const { busy, errors } = hooks.form;
  return html`
    <section class="card new" aria-labelledby="new-hook-title">
      <h2 id="new-hook-title">New endpoint</h2>
      <form class="new-hook" onSubmit=${submit} novalidate autocomplete="off">
        <${Field} name="url" inputmode="url" placeholder="https://shop.example.com/hooks/orders" spellcheck="false" />
        <button class="primary" aria-disabled=${busy}>${busy ? 'Creating…' : 'Create endpoint'}</button>
        <details class="options"><summary>Events and options</summary><div>
          <${Types} />
          <${Field} name="description" hint="optional" placeholder="What it is for" />
          <${Choice} name="payload" options=${[['full', 'Event and order'], ['thin', 'Ids only']]} />
          <${Choice} name="format" options=${[['standard', 'Standard Webhooks'], ['cloudevents', 'CloudEvents 1.0']]} />
          <${Field} name="customer" hint="only of this one" />
          <${Field} name="currency" hint="only in this one" placeholder="EUR" />
          <${Field} name="concurrency" hint="1 to 32" inputmode="numeric" placeholder="8" />
          <${Field} name="ratePerSecond" hint="optional" inputmode="numeric" placeholder="no limit" />
        </div></details>
      </form>
      ${errors[''] && html`<p class="error" role="alert">${sentence(errors[''])}</p>`}
    </section>`;
}

const Problem = ({ name }) => {
  const error = hooks.form.errors[name];
  return error && html`<p class="error" id="hook-${name}-error" role="alert">${LABELS[name]} ${error}</p>`;
};

const described = (name) => {
  const error = hooks.form.errors[name];
  return { 'aria-invalid': error ? 'true' : undefined, 'aria-describedby': error ? `hook-${name}-error` : undefined };
};

const Field = ({ name, hint, ...rest }) => html`
  <div class="field ${name}">
    <label for="hook-${name}">${LABELS[name]}${hint && html` <span class="hint">${hint}</span>`}</label>
    <input id="hook-${name}" name=${name} ...${rest} ...${described(name)} />
    <${Problem} name=${name} />
  </div>`;

const Choice = ({ name, options }) => html`
  <div class="field ${name}">
    <label for="hook-${name}">${LABELS[name]}</label>
    <select id="hook-${name}" name=${name} ...${described(name)}>${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>
    <${Problem} name=${name} />
  </div>`;

const Types = () => html`
  <fieldset class="types" aria-describedby=${hooks.form.errors.types ? 'hook-types-error' : undefined}>
    <legend>${LABELS.types}</legend>
    <label><input type="checkbox" value="order.*" checked=${hooks.form.all}
      onChange=${(event) => put({ all: event.currentTarget.checked })} /> every event of orders</label>
    ${!hooks.form.all && OF_ORDERS.map((type) => html`<label key=${type}><input type="checkbox" value="order.${type}" /> ${type}</label>`)}
    <label><input type="checkbox" value="webhook.*" /> notices about other endpoints</label>
    <${Problem} name="types" />
  </fieldset>`;
