// The header that joins the page, the console, the guide and the developer tools, and the choice of the theme.

import { html } from './html.js';
import { Icon } from './icons.js';
import { asset, at } from './root.js';

/** A server that requires a key serves these only if its operators enable them. */
export const hasTools = document.documentElement.dataset.tools === 'true';

const SITES = [
  ['', 'Home'],
  ['console', 'Console'],
  ['guide/', 'Guide'],
  ...(hasTools ? [['docs', 'API'], ['graphiql', 'GraphiQL']] : []),
];

/** Whether this page is the one at a path, and not one below it or beside it. */
const isHere = (path) => at(path) === location.origin + location.pathname;

/** The content of the header. `current` is the path of the link that the page belongs to; the children are at its end. */
export const Header = ({ current, redraw, children }) => html`
  <a class="brand" href=${at('')}><img src=${asset('icon.svg')} alt="" width="26" height="26" /><b>Orders</b></a>
  <nav class="sites" aria-label="Pages">${SITES.map(([path, name]) => html`
    <a key=${path} href=${at(path)} aria-current=${path !== current ? undefined : isHere(path) ? 'page' : 'true'}>${name}</a>`)}</nav>
  <div class="account">${children}<${Theme} redraw=${redraw} /></div>`;

const THEMES = { system: ['system_theme', 'Theme: as the system'], light: ['light', 'Theme: light'], dark: ['dark', 'Theme: dark'] };
const NEXT = { system: 'light', light: 'dark', dark: 'system' };

const theme = () => document.documentElement.dataset.theme ?? 'system';

function Theme({ redraw }) {
  const [icon, name] = THEMES[theme()];
  return html`<button type="button" class="quiet theme" aria-label=${name} title=${`${name}. Click to change.`} onClick=${() => { turn(); redraw(); }}><${Icon} name=${icon} /></button>`;
}

function turn() {
  const next = NEXT[theme()];
  if (next === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem('orders-theme', next);
  } catch {
    // It stays until the page is closed.
  }
}
