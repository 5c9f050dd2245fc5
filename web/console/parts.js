// Small parts of all views.

import { announce } from '../app/announce.js';
import { ago, dateTime, money, sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { Icon } from '../app/icons.js';
import { changed } from '../app/state.js';

const STATUS = { pending: 'Pending', processing: 'Processing', completed: 'Completed', failed: 'Failed', cancelled: 'Cancelled' };
export const statusName = (status) => STATUS[status?.toLowerCase()] ?? status;

export const Pill = ({ status }) => html`<span class="pill" data-status=${status.toUpperCase()}>${statusName(status)}</span>`;

/** A state with a tone: `good`, `warn`, `bad`, `busy` or `idle`. */
export const Tag = ({ tone, children }) => html`<span class="pill" data-tone=${tone}>${children}</span>`;

/** How long ago, with the exact time as its title. */
export const Ago = ({ at }) => (at ? html`<time dateTime=${at} title=${`${dateTime(at)} · ${at}`}>${ago(at)}</time>` : '–');

export const When = ({ at }) => (at ? html`<time dateTime=${at} title=${at}>${dateTime(at)}</time>` : '–');

/** A short length of time, from seconds. */
export function seconds(value) {
  if (value === null || value === undefined) return '–';
  if (value < 0.001) return '<1 ms';
  if (value < 1) return `${Math.round(value * 1_000)} ms`;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  return value < 3_600 ? two(value, 60, 'min', 1, 's') : two(value, 3_600, 'h', 60, 'min');
}

/** A length of time in two units; a second part of 0 is left out. */
function two(value, large, name, small, smallName) {
  const all = Math.round(value / small);
  const [whole, rest] = [Math.floor((all * small) / large), Math.round(((all * small) % large) / small)];
  return rest === 0 ? `${whole} ${name}` : `${whole} ${name} ${rest} ${smallName}`;
}

export const amount = (order) => money(order.total, order.currency);

export const Loading = ({ what }) => html`<p class="note muted">Reading ${what}…</p>`;

export const Failure = ({ error }) => html`<p class="note error" role="alert">${sentence(error)}</p>`;

/** States that the server does not have an API, so that a view is never just empty. */
export const Missing = ({ what, api }) => html`
  <div class="missing" role="note"><${Icon} name="help" /><p><b>${what} are not available from this server.</b>
    <span class="muted"> It has no <code>${api}</code>: a later version of the program has it.</span></p></div>`;

/** What a reader has: its value for `children`, or why there is none. */
export function Read({ reader, what, api, children }) {
  if (reader.isMissing) return html`<${Missing} what=${sentence(what)} api=${api} />`;
  return html`${reader.error && html`<${Failure} error=${reader.error} />`}${reader.value ? children(reader.value) : !reader.error && html`<${Loading} what=${what} />`}`;
}

export const Head = ({ title, children }) => html`<div class="view-head"><h1 id="view-title" tabindex="-1">${title}</h1><div class="view-actions">${children}</div></div>`;

/** Pairs of a name and a value; empty ones are left out. */
export const Facts = ({ pairs }) => html`<dl class="facts-list">${pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== false && pair[1] !== '').map(([name, value]) => html`
  <div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

let toast = null;
let toastTimer = null;

/** Shows a result for some seconds, and reads it out. */
export function say(text, tone = 'good') {
  toast = { text, tone };
  announce(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast = null; changed(); }, 6_000);
  changed();
}

export const Toast = () => toast && html`<p class="toast" data-tone=${toast.tone}>${toast.text}</p>`;

/** Copies a string. Pages of a host without TLS cannot, except on the user's own machine. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
  } catch {
    say('The browser does not permit it. Select the characters and copy them with the keyboard.', 'warn');
  }
}

/** Offers a string as a file. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A dialog above the page. Escape and its buttons close it, and the focus returns to what opened it. */
export const Dialog = ({ title, onClose, children }) => html`
  <dialog class="dialog" aria-labelledby="dialog-title" ref=${showOnce} onClose=${onClose} onClick=${(event) => { if (event.target === event.currentTarget) event.currentTarget.close(); }}>
    <div class="dialog-body">
      <div class="dialog-head"><h2 id="dialog-title">${title}</h2>
        <button type="button" class="quiet icon-button" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></div>
      ${children}
    </div>
  </dialog>`;

/** What had the focus before the dialog. */
let opener = null;

// The same function at every redraw, so preact calls it only when the element appears and when it is removed.
function showOnce(element) {
  if (!element) return void queueMicrotask(returnFocus);
  if (element.open) return;
  if (!document.activeElement.closest('dialog')) opener = document.activeElement;
  element.showModal();
  element.querySelector('form :is(input, select), .primary, .danger')?.focus();
}

/** A removed dialog leaves the focus nowhere. What has opened it may be gone as well. */
function returnFocus() {
  if (document.querySelector('dialog[open]') || document.activeElement !== document.body) return;
  (opener?.isConnected ? opener : document.getElementById('view-title'))?.focus({ preventScroll: true });
}

/** A button with a list below it. Escape and a click beside it close the list. */
export const Menu = ({ name, icon, children }) => html`<details class="menu" onKeyDown=${closeOnEscape} onFocusOut=${closeOutside}>
  <summary class="button small"><${Icon} name=${icon} /> ${name}</summary><div class="menu-list">${children}</div></details>`;

function closeOnEscape(event) {
  if (event.key !== 'Escape' || !event.currentTarget.open) return;
  event.stopPropagation();
  event.currentTarget.open = false;
  event.currentTarget.querySelector('summary').focus();
}

function closeOutside(event) {
  if (!event.currentTarget.contains(event.relatedTarget)) event.currentTarget.open = false;
}

const short = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' });

/** A time within the year, for a column of a table. */
export const shortTime = (at) => short.format(new Date(at));

const kept = (name) => { try { return JSON.parse(localStorage.getItem(name)); } catch { return null; } };

/** What this browser keeps; `fallback` if there is nothing. */
export const recall = (name, fallback) => kept(`orders-${name}`) ?? fallback;

export function forget(name) {
  try {
    localStorage.removeItem(`orders-${name}`);
  } catch {
    // There was nothing.
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`orders-${name}`, JSON.stringify(value));
  } catch {
    // It stays until the page is closed.
  }
}
