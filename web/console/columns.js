// The columns of the list of orders. Which of them are shown is kept in this browser.

import { ago, count, dateTime, duration } from '../app/format.js';
import { html } from '../app/html.js';
import { changed } from '../app/state.js';
import { Menu, amount, forget, keep, recall, shortTime } from './parts.js';

const When = ({ at }) => html`<time dateTime=${at} title=${dateTime(at)}>${ago(at)}</time>`;

/** In their order in the table. An `isExtra` one is shown only when it is chosen. */
const COLUMNS = [
  { key: 'customer', label: 'Customer', cell: ({ customer }) => customer ?? '' },
  { key: 'ref', label: 'Reference', cell: ({ externalReference, code }) => externalReference ?? html`<span class="muted">${code}</span>` },
  { key: 'code', label: 'Code', isExtra: true, cell: ({ code }) => html`<code>${code}</code>` },
  { key: 'total', label: 'Total', sort: 'total', cell: amount },
  { key: 'tries', label: 'Attempts', cell: ({ attempt }) => (attempt > 0 ? count(attempt) : '') },
  { key: 'worker', label: 'Worker', isExtra: true, cell: ({ worker }) => worker ?? '' },
  { key: 'priority', label: 'Priority', isExtra: true, cell: ({ priority }) => priority },
  { key: 'why', label: 'Why', cell: (order) => why(order) },
  { key: 'changed', label: 'Changed', isExtra: true, cell: ({ updatedAt }) => html`<${When} at=${updatedAt} />` },
  { key: 'age', label: 'Created', sort: 'createdAt', cell: ({ createdAt }) => html`<${When} at=${createdAt} />` },
];

const chosen = () => {
  const kept = recall('columns', null);
  return Array.isArray(kept) ? kept : null;
};

/** Whether the user has chosen the columns, so that the width of the screen hides none. */
export const isChosen = () => chosen() !== null;

/** The columns to show. */
export function columns() {
  const keys = chosen();
  return COLUMNS.filter(({ key, isExtra }) => (keys ? keys.includes(key) : !isExtra));
}

function turn(key) {
  const shown = columns().map((column) => column.key);
  keep('columns', shown.includes(key) ? shown.filter((each) => each !== key) : [...shown, key]);
  changed();
}

/** The menu that shows and hides them. */
export function ColumnMenu() {
  const shown = columns().map(({ key }) => key);
  return html`<${Menu} name="Columns" icon="columns">
    ${COLUMNS.map(({ key, label }) => html`<label key=${key} class="check"><input type="checkbox" checked=${shown.includes(key)} onChange=${() => turn(key)} /> ${label}</label>`)}
    ${isChosen() && html`<button type="button" class="quiet small" onClick=${() => { forget('columns'); changed(); }}>As at first</button>`}</${Menu}>`;
}

const WAITS = { worker: 'waits for a worker', retry: 'retry', schedule: 'scheduled', pause: 'paused' };

/** Why an order is where it is, in some words. */
export function why({ status, waitsFor, nextAttemptAt, errorClass, reason }, now = Date.now()) {
  const left = nextAttemptAt ? new Date(nextAttemptAt) - now : 0;
  const when = left > 86_400_000 ? ` ${shortTime(nextAttemptAt)}` : left > 0 ? ` in ${duration(Math.ceil(left / 1_000) * 1_000)}` : '';
  if (status === 'pending' && waitsFor) return `${WAITS[waitsFor] ?? waitsFor}${when}${waitsFor === 'retry' && errorClass ? ` · ${errorClass}` : ''}`;
  if (status === 'failed' || status === 'cancelled' || errorClass) return [errorClass, reason].filter(Boolean).join(' · ');
  return '';
}
