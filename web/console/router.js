// The address of the console: `console/<view>/<id>?<query>`, wherever a proxy serves it.

import { root } from '../app/root.js';
import { changed } from '../app/state.js';

export const route = { view: 'overview', id: null, query: new URLSearchParams() };

const base = new URL('console', root).pathname;
let listener = () => {};

/** The address of a view, an object of it and a query; empty members of the query are left out. */
export function href(path = '', query = {}) {
  const url = new URL(path ? `${base}/${path}` : base, root);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return url.pathname + url.search;
}

/** Opens a view. */
export function go(path, query, { replace = false } = {}) {
  const target = href(path, query);
  if (target === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', target);
  follow();
}

function follow() {
  const path = location.pathname.startsWith(base) ? location.pathname.slice(base.length) : '';
  const [view, id] = path.split('/').filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  Object.assign(route, { view: view ?? 'overview', id: id ?? null, query: new URLSearchParams(location.search) });
  listener();
  changed();
}

/** A click on a link of the console opens it without loading the page again. */
function click(event) {
  const link = event.target.closest?.('a[href]');
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  const isOwn = url.origin === location.origin && (url.pathname === base || url.pathname.startsWith(`${base}/`));
  if (!isOwn || link.target || link.hasAttribute('download') || url.hash) return;
  event.preventDefault();
  if (url.pathname + url.search !== location.pathname + location.search) {
    history.pushState(null, '', url.pathname + url.search);
    follow();
  }
}

/** `callback` is called at once and after each change of the address. */
export function startRouter(callback) {
  listener = callback;
  // A browser resolves the address of the icon again when the path changes.
  for (const icon of document.querySelectorAll('link[rel=icon]')) icon.href = icon.href;
  addEventListener('popstate', follow);
  document.addEventListener('click', click);
  follow();
}
