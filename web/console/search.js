// The search field of orders: a query with qualifiers, offers to complete it, its terms as chips, and saved views.

import { html } from '../app/html.js';
import { Icon } from '../app/icons.js';
import { changed } from '../app/state.js';
import { list, search } from './orders.js';
import { keep, recall, say } from './parts.js';
import { VIEWS, completions, terms, without } from './query.js';
import { href, route } from './router.js';
import { seenWorkers } from './workers.js';

/** Own views that are kept. */
const MOST_VIEWS = 30;

const field = { text: null, isOpen: false, chosen: -1 };

const query = () => route.query.get('q') ?? '';
const text = () => field.text ?? query();

/** Values that the shown orders have, by qualifier. */
const known = () => {
  const values = (name) => [...new Set((list.rows ?? []).map((order) => order[name]).filter(Boolean))].sort();
  return { customer: values('customer'), ref: values('externalReference'), class: values('errorClass'), currency: values('currency'), worker: [...new Set([...values('worker'), ...seenWorkers()])] };
};

/** The address has another query: the field shows it. */
export function resetField() { Object.assign(field, { text: null, isOpen: false, chosen: -1 }); }

export const focusSearch = () => document.getElementById('search')?.focus();

export function Search() {
  const offers = field.isOpen ? completions(text(), known()) : [];
  const isShown = offers.length > 0;
  const type = (event) => { Object.assign(field, { text: event.currentTarget.value, isOpen: true, chosen: -1 }); changed(); };
  return html`
    <form class="search" role="search" onSubmit=${submit} autocomplete="off">
      <${Icon} name="search" />
      <input id="search" name="q" type="text" role="combobox" aria-label="Search orders" placeholder="Search: an id, a reference, a customer, or status:failed since:1h …"
        value=${text()} spellcheck="false" autocapitalize="off" maxlength="500" aria-expanded=${isShown} aria-controls="offers" aria-autocomplete="list"
        aria-activedescendant=${isShown && field.chosen >= 0 ? `offer-${field.chosen}` : undefined}
        onInput=${type} onFocus=${() => { field.isOpen = true; changed(); }} onBlur=${() => { field.isOpen = false; changed(); }} onKeyDown=${(event) => press(event, offers)} />
      <kbd aria-hidden="true">/</kbd>
      <button class="primary small">Search</button>
      <ul class="offers" id="offers" role="listbox" aria-label="Completions" hidden=${!isShown}>
        ${offers.map((offer, n) => html`<li key=${offer.label} id="offer-${n}" role="option" aria-selected=${n === field.chosen ? 'true' : 'false'}
          onMouseDown=${(event) => { event.preventDefault(); take(offer); }}><code>${offer.label}</code> <span class="muted">${offer.hint}</span></li>`)}
      </ul>
    </form>
    <${Chips} />`;
}

function submit(event) {
  event.preventDefault();
  const wanted = text();
  resetField();
  search(wanted);
}

function take(offer) {
  Object.assign(field, { text: offer.text, chosen: -1, isOpen: true });
  changed();
  focusSearch();
}

function press(event, offers) {
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (move && offers.length > 0) {
    event.preventDefault();
    field.chosen = (field.chosen + move + offers.length + (field.chosen < 0 && move < 0 ? 1 : 0)) % offers.length;
    changed();
  } else if (event.key === 'Enter' && field.chosen >= 0 && offers[field.chosen]) {
    event.preventDefault();
    take(offers[field.chosen]);
  } else if (event.key === 'Tab' && !event.shiftKey && /\w:?$/.test(text()) && offers.length > 0 && (field.chosen >= 0 || offers.length === 1)) {
    event.preventDefault();
    take(offers[Math.max(0, field.chosen)]);
  } else if (event.key === 'Escape') {
    event.stopPropagation();
    if (field.isOpen && offers.length > 0) field.isOpen = false;
    else { resetField(); event.currentTarget.blur(); }
    changed();
  }
}

function Chips() {
  const found = terms(query());
  if (found.length === 0) return null;
  return html`<ul class="chips" aria-label="Terms of the search">${found.map(({ key, operator, value, raw }, n) => html`
    <li key=${raw}><span>${key ? html`<b>${key}</b>${operator === ':' ? ' ' : ` ${operator} `}` : ''}${value}</span>
      <a href=${href('orders', { q: without(query(), n), sort: route.query.get('sort') })} aria-label="Remove ${raw}"><${Icon} name="close" /></a></li>`)}</ul>`;
}

const own = () => recall('views', []).filter((view) => typeof view?.name === 'string' && typeof view?.q === 'string').slice(0, MOST_VIEWS);

let naming = null;

/** The saved views. One that is not saved yet can be. */
export function Views() {
  const current = query().trim();
  const views = [...VIEWS.map(([name, q]) => ({ name, q })), ...own().map((view) => ({ ...view, isOwn: true }))];
  const isSaved = views.some(({ q }) => q === current);
  return html`<nav class="views" aria-label="Saved views">
    ${views.map(({ name, q, isOwn }) => html`<span class="saved" key=${name}>
      <a href=${href('orders', { q })} aria-current=${q === current ? 'page' : undefined}>${name}</a>
      ${isOwn && q === current && html`<button type="button" class="quiet icon-button" aria-label="Remove the view ${name}" onClick=${() => removeView(name)}><${Icon} name="close" /></button>`}</span>`)}
    ${!isSaved && (naming === null
    ? html`<button type="button" class="quiet small" onClick=${() => { naming = ''; changed(); }}>Save view…</button>`
    : html`<form class="name-view" onSubmit=${(event) => { event.preventDefault(); saveView(event.currentTarget.elements.namedItem('view-name').value.trim(), current); }}>
        <input name="view-name" aria-label="Name of the view" maxlength="40" placeholder="Name" ref=${focusOnce} onKeyDown=${(event) => { if (event.key === 'Escape') { event.stopPropagation(); naming = null; changed(); } }} /> <button class="small">Save</button></form>`)}
  </nav>`;
}

const focusOnce = (element) => element?.focus();

function saveView(name, q) {
  naming = null;
  if (!name || VIEWS.some(([each]) => each === name)) return say('Choose another name for the view.', 'warn');
  keep('views', [...own().filter((view) => view.name !== name), { name, q }].slice(-MOST_VIEWS));
  return say(`The view ${name} is saved in this browser.`);
}

function removeView(name) {
  keep('views', own().filter((view) => view.name !== name));
  say(`The view ${name} is removed.`);
}
