// The list of orders: one page of a query, kept live without moving its rows.
//
// The rows that are shown keep their places. What is new is counted, and shown when the user asks for it.

import { restPage } from '../app/rest.js';
import { changed } from '../app/state.js';
import { onEvent } from './live.js';
import { QUALIFIERS, parse } from './query.js';
import { words } from './reader.js';
import { go, route } from './router.js';

/** Orders of a page. */
export const PAGE = 100;
/** While events come, the page is read no more often than this. */
const CHECK_MS = 2_000;

export const list = {
  key: null, // the query that is shown
  rows: null,
  next: null,
  prev: null,
  error: null,
  isLoading: false,
  latest: null, // the newest answer, whose rows that are not shown are counted
  fresh: 0,
  selected: new Map(), // orders by id
  isAll: false, // whether the selection is every order of the query
  current: -1, // the row of the keyboard
};

const query = () => route.query.get('q') ?? '';
const key = () => ['q', 'sort', 'after', 'before'].map((name) => route.query.get(name) ?? '').join('\n');

/** The path of the list for the address of the console. */
function path() {
  const params = new URLSearchParams({ limit: PAGE });
  for (const [name, value] of Object.entries(parse(query()).params)) if (value !== null) params.set(name, value);
  for (const name of ['sort', 'after', 'before']) if (route.query.get(name)) params.set(name, route.query.get(name));
  return `orders?${params}`;
}

/** The address of the export of the query. */
export function exportPath(format) {
  const params = new URLSearchParams({ format });
  for (const [name, value] of Object.entries(parse(query()).params)) if (value !== null) params.set(name, value);
  return `orders/export?${params}`;
}

/** Shows the list for the address. The same list stays as it is. */
export function showList() {
  if (list.key === key() && list.rows) return;
  const isOther = list.key?.split('\n')[0] !== query();
  list.key = key();
  if (isOther) clearSelection();
  Object.assign(list, { rows: isOther ? null : list.rows, error: null, fresh: 0, latest: null, current: -1 });
  reload();
}

/** Reads the page again and shows what it contains now. */
export async function reload() {
  const { problem } = parse(query());
  if (problem) {
    Object.assign(list, { rows: [], next: null, prev: null, error: problem, isLoading: false });
    return changed();
  }
  const asked = list.key;
  list.isLoading = true;
  changed();
  try {
    const page = await restPage(path());
    if (asked !== list.key) return;
    show(page);
  } catch (error) {
    if (asked !== list.key) return;
    Object.assign(list, { error: unknownTerm(error) ?? words(error), rows: list.rows ?? [], isLoading: false });
  }
  changed();
}

/** What to tell about a filter that the server does not have; null if that is not the reason. */
function unknownTerm({ fields = {} }) {
  const name = Object.keys(fields).find((each) => /is not known here/.test(fields[each]));
  if (!name) return null;
  const [key] = Object.entries(QUALIFIERS).find(([, { param }]) => param === name) ?? [];
  return `This server cannot search ${key ? `by ${key}:` : 'for words without a qualifier'}. A later version of the program has the filter ${name}.`;
}

function show({ items, next, prev }) {
  Object.assign(list, { rows: items, next, prev, error: null, isLoading: false, fresh: 0, latest: null });
  list.current = Math.min(list.current, items.length - 1);
}

/** Shows the orders that have come. */
export function showFresh() {
  if (list.latest) show(list.latest);
  changed();
}

let timer = null;
let checkedAt = 0;

function checkLater() {
  timer ??= setTimeout(check, Math.max(200, checkedAt + CHECK_MS - Date.now()));
}

/** Reads the page again: known rows get their new state, and the others are counted. */
async function check() {
  timer = null;
  checkedAt = Date.now();
  if (route.view !== 'orders' || !list.rows || list.isLoading || route.query.get('after') || route.query.get('before')) return;
  const asked = list.key;
  try {
    const page = await restPage(path());
    if (asked !== list.key || list.isLoading) return;
    const now = new Map(page.items.map((order) => [order.id, order]));
    const shown = new Set(list.rows.map(({ id }) => id));
    list.rows = list.rows.map((order) => newer(order, now.get(order.id)));
    const fresh = page.items.filter(({ id }) => !shown.has(id)).length;
    if (list.rows.length === 0) show(page);
    else Object.assign(list, { fresh, latest: fresh > 0 ? page : null });
    changed();
  } catch {
    // The next event causes another check.
  }
}

const newer = (known, order) => (order && order.sequence > known.sequence ? order : known);

/** Takes an order that the server has sent. */
export function learnOrder(order) {
  if (list.rows) list.rows = list.rows.map((known) => (known.id === order.id ? newer(known, order) : known));
}

onEvent((event) => {
  if (route.view !== 'orders') return;
  const known = event && list.rows?.findIndex(({ id }) => id === event.orderId);
  if (event && known >= 0) {
    const order = list.rows[known];
    if (event.sequence > order.sequence) {
      const { sequence, attempt, reason, errorClass } = event;
      list.rows[known] = { ...order, sequence, attempt, reason, errorClass, status: event.status.toLowerCase(), waitsFor: null, nextAttemptAt: null, isLit: true };
      changed();
    }
    // When the next attempt is, only the list says.
    if (event.status !== 'PENDING') return;
  }
  checkLater();
});

export function clearSelection() {
  list.selected.clear();
  list.isAll = false;
  changed();
}

/** Selects a row or not. */
export function select(order, isSelected = !list.selected.has(order.id)) {
  list.isAll = false;
  if (isSelected) list.selected.set(order.id, order);
  else list.selected.delete(order.id);
  changed();
}

export function selectPage(isSelected) {
  for (const order of list.rows ?? []) select(order, isSelected);
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Opens the list for another query; a whole id opens its order. */
export function search(text) {
  const q = text.trim();
  if (ID.test(q)) go(`orders/${q.toLowerCase()}`, {});
  else go('orders', { q, sort: route.query.get('sort') });
}
