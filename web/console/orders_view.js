// The view of orders: search, saved views, the table, the selection, and the open order beside it.

import { ago, count } from '../app/format.js';
import { html } from '../app/html.js';
import { at } from '../app/root.js';
import { may } from '../app/state.js';
import { askBulk } from './bulk.js';
import { ColumnMenu, columns, isChosen, why } from './columns.js';
import { OrderPanel, openOrder, order } from './order.js';
import { clearSelection, exportPath, list, reload, select, selectPage, showFresh, showList } from './orders.js';
import { Failure, Head, Menu, Pill, say } from './parts.js';
import { filterOf } from './query.js';
import { go, href, route } from './router.js';
import { Search, Views, focusSearch, resetField } from './search.js';

let lastQuery = null;

export function enter() {
  const q = route.query.get('q') ?? '';
  if (q !== lastQuery) { resetField(); lastQuery = q; }
  showList();
  openOrder(route.id);
}

export function leave() { openOrder(null); }

const here = () => Object.fromEntries(route.query);
const pathOf = (id) => href(id ? `orders/${id}` : 'orders', here());

export const OrdersView = () => html`
  <div class="with-panel ${route.id ? 'is-open' : ''}">
    <section class="view-main" aria-labelledby="view-title">
      <${Head} title="Orders"><${ColumnMenu} /><${Export} /></${Head}>
      <${Search} /><${Views} />
      ${list.error && html`<${Failure} error=${list.error} />`}
      <${Bulk} />
      ${!(list.error && list.rows?.length === 0) && html`<${Table} />`}
      <${Pager} />
    </section>
    ${route.id && html`<${OrderPanel} close=${pathOf(null)} />`}
  </div>`;

const Export = () => html`<${Menu} name="Export" icon="download">${['csv', 'ndjson'].map((format) => html`<a key=${format} href=${at(exportPath(format))} onClick=${save}>${format.toUpperCase()}</a>`)}</${Menu}>`;

/** Downloads a file. The headers are asked for first, so that a refusal is a message and not a file. */
async function save(event) {
  event.preventDefault();
  const { href: url } = event.currentTarget;
  event.currentTarget.closest('details').open = false;
  const answer = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(15_000) }).catch(() => null);
  if (answer?.ok) location.assign(url);
  else say(answer ? `This server cannot export these orders (${answer.status}).` : 'No answer from the server.', 'bad');
}

function sortLink(name, label) {
  const sort = route.query.get('sort') ?? '-createdAt';
  const next = sort === `-${name}` ? name : `-${name}`;
  const direction = sort === name ? 'ascending' : sort === `-${name}` ? 'descending' : undefined;
  return { direction, link: html`<a href=${href('orders', { q: route.query.get('q'), sort: next === '-createdAt' ? null : next })}>${label}${direction ? html`<span aria-hidden="true">${direction === 'ascending' ? ' ↑' : ' ↓'}</span>` : ''}</a>` };
}

function Table() {
  const { rows, isLoading } = list;
  if (!rows) return html`<div class="table-wrap"><p class="note muted">Reading the orders…</p></div>`;
  const shown = columns();
  const head = ({ key, label, sort }) => {
    const { direction, link } = sort ? sortLink(sort, label) : { link: label };
    return html`<th key=${key} class="c-${key}" aria-sort=${direction}>${link}</th>`;
  };
  const isEverySelected = rows.length > 0 && rows.every(({ id }) => list.selected.has(id));
  return html`
    <div class="table-wrap" aria-busy=${isLoading}>
      ${list.fresh > 0 && html`<button type="button" class="fresh" onClick=${showFresh}>${list.fresh >= rows.length && list.fresh >= 100 ? `${list.fresh}+` : count(list.fresh)} new</button>`}
      <table class="table orders ${isChosen() ? 'is-chosen' : ''}">
        <thead><tr>
          <th class="c-check"><input type="checkbox" aria-label="Select the page" checked=${isEverySelected} onChange=${(event) => selectPage(event.currentTarget.checked)} /></th>
          <th class="c-status">Status</th><th class="c-order">Order</th>${shown.map(head)}
        </tr></thead>
        <tbody>${drawRows(rows, shown)}</tbody>
      </table>
      ${rows.length === 0 && !isLoading && !list.error && html`<p class="note muted empty-list">No order matches. ${route.query.get('q') && html`<a href=${href('orders')}>Show all orders</a>`}</p>`}
    </div>`;
}

/** The rows as drawn last: preact skips what is the same, and most rows are. */
let drawn = new Map();

function drawRows(rows, shown) {
  const next = new Map();
  const keys = shown.map(({ key }) => key).join();
  rows.forEach((each, n) => {
    const state = [list.selected.has(each.id) || list.isAll, route.id === each.id, list.current === n, each.createdAt && ago(each.createdAt), each.updatedAt && ago(each.updatedAt), why(each), location.search, keys].join('|');
    const last = drawn.get(each.id);
    next.set(each.id, last?.order === each && last.state === state ? last : { order: each, state, vnode: html`<${Row} key=${each.id} order=${each} n=${n} shown=${shown} />` });
  });
  drawn = next;
  return [...next.values()].map(({ vnode }) => vnode);
}

function Row({ order: each, n, shown }) {
  if (each.unreadable) return html`<tr><td></td><td colspan=${shown.length + 2} class="why">${each.id}: unreadable, ${each.unreadable}</td></tr>`;
  const isSelected = list.isAll || list.selected.has(each.id);
  const [first, ...more] = each.lineItems;
  const open = (event) => { if (!event.target.closest('a, input, button') && !getSelection()?.toString()) go(`orders/${each.id}`, here()); };
  return html`
    <tr id="row-${each.id}" data-status=${each.status.toUpperCase()} data-lit=${each.isLit ? (each.sequence % 2 ? 'odd' : 'even') : undefined}
      class="${route.id === each.id ? 'is-current' : ''} ${list.current === n ? 'is-here' : ''}" aria-selected=${isSelected} onClick=${open}>
      <td class="c-check"><input type="checkbox" aria-label="Select ${first.item}, ${each.id.slice(-8)}" checked=${isSelected} onChange=${() => select(each)} /></td>
      <td class="c-status"><${Pill} status=${each.status} /></td>
      <td class="c-order"><a href=${pathOf(each.id)} title=${each.id}>${first.item}</a>${first.quantity > 1 ? html` <span class="muted">× ${count(first.quantity)}</span>` : ''}${more.length > 0 ? html` <span class="muted">+ ${count(more.length)} items</span>` : ''}</td>
      ${shown.map(({ key, cell }) => html`<td key=${key} class="c-${key}">${cell(each)}</td>`)}
    </tr>`;
}

function Bulk() {
  const { selected, isAll, rows } = list;
  if (selected.size === 0 && !isAll) return null;
  const chosen = [...selected.values()];
  const { filter, statuses } = filterOf(route.query.get('q') ?? '');
  const any = (wanted) => (isAll ? !statuses || statuses.some((status) => wanted.includes(status)) : chosen.some(({ status }) => wanted.includes(status)));
  const ask = (kind, wanted) => askBulk({
    kind, onDone: () => { clearSelection(); reload(); },
    ...(isAll ? { filter } : { ids: chosen.filter(({ status }) => wanted.includes(status)).map(({ id }) => id) }),
  });
  const canSelectAll = !isAll && rows?.length > 0 && rows.every(({ id }) => selected.has(id)) && (list.next || list.prev);
  return html`<div class="bulk" role="group" aria-label="Selected orders">
    <b>${isAll ? 'All matching orders' : `${count(selected.size)} selected`}</b>
    ${canSelectAll && html`<button type="button" class="small" onClick=${() => { list.isAll = true; selectPage(true); list.isAll = true; }}>Select all matching</button>`}
    ${may('orders:manage') && any(['failed']) && html`<button type="button" class="small" onClick=${() => ask('redrive', ['failed'])}>Redrive…</button>`}
    ${may('orders:write') && any(['pending', 'processing']) && html`<button type="button" class="small cancel" onClick=${() => ask('cancel', ['pending', 'processing'])}>Cancel…</button>`}
    <button type="button" class="quiet small" onClick=${clearSelection}>Clear</button>
  </div>`;
}

function Pager() {
  const { next, prev, rows } = list;
  if (!rows || (!next && !prev)) return null;
  const { q, sort } = here();
  return html`<nav class="pager" aria-label="Pages of the list">
    ${prev ? html`<a class="button small" href=${href('orders', { q, sort, before: prev })}>Newer</a>` : html`<span></span>`}
    <span class="muted">${count(rows.length)} on this page</span>
    ${next ? html`<a class="button small" rel="next" href=${href('orders', { q, sort, after: next })}>Older</a>` : html`<span></span>`}
  </nav>`;
}

function move(step) {
  const last = (list.rows?.length ?? 0) - 1;
  if (last < 0) return;
  list.current = Math.max(0, Math.min(last, list.current + step));
  const id = list.rows[list.current].id;
  if (route.id) go(`orders/${id}`, here(), { replace: true });
  document.getElementById(`row-${id}`)?.scrollIntoView({ block: 'nearest' });
}

const currentRow = () => list.rows?.[list.current];

/** The keys of this view, see keyboard.js. */
export const keys = {
  '/': ['Search', focusSearch],
  j: ['Next row', () => move(1)],
  k: ['Previous row', () => move(-1)],
  Enter: ['Open the row', () => { if (currentRow()) go(`orders/${currentRow().id}`, here()); }],
  x: ['Select the row', () => { if (currentRow()) select(currentRow()); }],
  r: ['Redrive the selected or open order', () => {
    const failed = [...list.selected.values()].filter(({ status }) => status === 'failed').map(({ id }) => id);
    const ids = failed.length > 0 ? failed : [order.value, currentRow()].filter((each) => each?.status === 'failed').slice(0, 1).map(({ id }) => id);
    if (ids.length > 0 && may('orders:manage')) askBulk({ kind: 'redrive', ids, onDone: () => { clearSelection(); reload(); } });
  }],
  Escape: ['Close the order', () => { if (route.id) go('orders', here()); else if (list.selected.size > 0) clearSelection(); }],
};
