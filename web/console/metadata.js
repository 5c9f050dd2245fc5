// The metadata of the open order and its form. A change is sent for the version that was read, so it overwrites no other one.

import { sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { restVersion } from '../app/rest.js';
import { changed, may } from '../app/state.js';
import { Facts, say } from './parts.js';
import { words } from './reader.js';
import { withTerm } from './query.js';
import { href } from './router.js';

/** The most keys of an order. */
const MAX_KEYS = 50;

let form = null;

const path = (id) => `orders/${id}/metadata`;

/** The metadata; each value leads to the orders that have it too. An empty value cannot be searched for. */
export function Metadata({ order: { id, metadata }, onChange }) {
  if (form?.id === id) return html`<${Form} onChange=${onChange} />`;
  const entries = Object.entries(metadata ?? {});
  if (entries.length === 0 && !may('orders:write')) return null;
  return html`<h3>Metadata</h3>
    ${entries.length > 0 ? html`<${Facts} pairs=${entries.map(([key, value]) => [key, value ? html`<a href=${href('orders', { q: withTerm('', `metadata.${key}`, value) })}>${value}</a>` : html`<span class="muted">empty</span>`])} />` : html`<p class="muted">None.</p>`}
    ${may('orders:write') && html`<p class="actions"><button type="button" class="quiet small" onClick=${() => edit(id)}>Edit metadata…</button></p>`}`;
}

/** Reads the present metadata with its version, and opens the form with it. */
async function edit(id, error = null) {
  try {
    const { value, version } = await restVersion('GET', path(id));
    const rows = Object.entries(value).map(([key, text]) => ({ key, text }));
    form = { id, version, keys: Object.keys(value), rows: [...rows, { key: '', text: '' }], error, busy: false };
  } catch (problem) {
    say(sentence(words(problem)), 'bad');
  }
  changed();
}

function close() {
  form = null;
  changed();
}

function Form({ onChange }) {
  const { rows, error, busy } = form;
  const set = (n, name) => (event) => { rows[n][name] = event.currentTarget.value; };
  const remove = (n) => () => { rows.splice(n, 1); changed(); };
  const add = () => { rows.push({ key: '', text: '' }); changed(); };
  const onKeyDown = (event) => { if (event.key === 'Escape') { event.stopPropagation(); close(); } };
  return html`<h3>Metadata</h3>
    <form class="ask metadata-form" autocomplete="off" onKeyDown=${onKeyDown} onSubmit=${(event) => { event.preventDefault(); if (!busy) save(onChange); }}>
      ${rows.map((row, n) => html`<p class="pair" key=${n}>
        <input aria-label=${`Key ${n + 1}`} placeholder="Key" maxlength="40" value=${row.key} onInput=${set(n, 'key')} />
        <input aria-label=${`Value ${n + 1}`} placeholder="Value" maxlength="500" value=${row.text} onInput=${set(n, 'text')} />
        <button type="button" class="quiet small" aria-label=${`Remove key ${n + 1}`} onClick=${remove(n)}>Remove</button></p>`)}
      ${rows.length < MAX_KEYS && html`<p><button type="button" class="quiet small" onClick=${add}>Add a key</button></p>`}
      <p class="actions"><button class="primary" aria-disabled=${busy}>Save metadata</button>
        <button type="button" class="quiet" onClick=${close}>Cancel</button></p>
      ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
    </form>`;
}

/** Sends the difference; keys that are gone are removed. */
async function save(onChange) {
  const { id, version, keys, rows } = form;
  const wanted = Object.fromEntries(rows.map(({ key, text }) => [key.trim(), text]).filter(([key]) => key !== ''));
  const patch = { ...Object.fromEntries(keys.filter((key) => !(key in wanted)).map((key) => [key, null])), ...wanted };
  form.busy = true;
  changed();
  try {
    const { value } = await restVersion('PATCH', path(id), patch, version);
    if (form?.id === id) form = null;
    onChange(id, value);
    say('The metadata is changed.');
  } catch (error) {
    if (error.status === 412) return edit(id, 'another user has changed the metadata; this is its present content');
    if (form?.id === id) Object.assign(form, { busy: false, error: words(error) });
  }
  return changed();
}
