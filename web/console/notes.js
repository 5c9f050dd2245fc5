// The notes of the open order, and the form that adds one.

import { dateTime, sentence, time } from '../app/format.js';
import { html } from '../app/html.js';
import { rest } from '../app/rest.js';
import { changed, may } from '../app/state.js';
import { say } from './parts.js';
import { words } from './reader.js';

let form = null;

/** The notes, oldest first, with their milestones. */
export function Notes({ id, notes, onAdd }) {
  if (!notes || (notes.length === 0 && !may('orders:write'))) return null;
  return html`<h3>Notes</h3>
    ${notes.length > 0 && html`<ol class="timeline notes">${notes.map((note) => html`<li key=${note.number}>
      <p class="step">${note.milestone ? html`<b>${note.milestone}</b>` : html`<b>Note</b>`} <span class="spent-time">${note.author}${note.public && ' · public'}</span>
        <time dateTime=${note.createdAt} title=${dateTime(note.createdAt)}>${time(note.createdAt)}</time></p>
      <p class="reason">${note.text}</p></li>`)}</ol>`}
    ${may('orders:write') && (form?.id === id ? html`<${Form} onAdd=${onAdd} />`
    : html`<p class="actions"><button type="button" class="quiet small" onClick=${() => { form = { id, error: null, busy: false }; changed(); }}>Add a note…</button></p>`)}`;
}

function close() {
  form = null;
  changed();
}

const focusOnce = (element) => element?.focus();

function Form({ onAdd }) {
  const submit = (event) => {
    event.preventDefault();
    const { elements } = event.currentTarget;
    const milestone = elements.namedItem('milestone').value.trim();
    if (!form.busy) add({ text: elements.namedItem('note').value, public: elements.namedItem('public').checked, ...(milestone && { milestone }) }, onAdd);
  };
  return html`<form class="ask" autocomplete="off" onSubmit=${submit} onKeyDown=${(event) => { if (event.key === 'Escape') { event.stopPropagation(); close(); } }}>
    <label for="note">Note</label>
    <input id="note" name="note" maxlength="1000" required ref=${focusOnce} />
    <label for="milestone">Milestone <span class="hint">optional, such as packed</span></label>
    <input id="milestone" name="milestone" maxlength="32" pattern="[a-z0-9_\\-]+" />
    <p><label><input type="checkbox" name="public" /> The customer sees it</label></p>
    <p class="actions"><button class="primary" aria-disabled=${form.busy}>Add note</button>
      <button type="button" class="quiet" onClick=${close}>Cancel</button></p>
    ${form.error && html`<p class="error" role="alert">${sentence(form.error)}</p>`}
  </form>`;
}

async function add(note, onAdd) {
  const { id } = form;
  form.busy = true;
  changed();
  try {
    const added = await rest('POST', `orders/${id}/notes`, note);
    if (form?.id === id) form = null;
    onAdd(id, added);
    say('The note is added.');
  } catch (error) {
    if (form?.id === id) Object.assign(form, { busy: false, error: words(error) });
  }
  changed();
}
