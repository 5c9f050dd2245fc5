// The view of the webhook endpoints: a form, the list and the open endpoint.

import { html } from '../app/html.js';
import { HookDetail } from './hook_detail.js';
import { NewHook } from './hook_form.js';
import { HookList } from './hook_list.js';
import { ask, hooks, openHook, refresh } from './hooks.js';
import { Head } from './parts.js';
import { wide } from '../app/screen.js';
import { go, route } from './router.js';

/** The row of the endpoint that was closed: it takes the focus. */
let closed = null;

export function enter() {
  if (route.id !== (hooks.open?.id ?? null)) {
    if (!route.id) closed = `hook-${hooks.open.id}`;
    openHook(route.id);
  }
  refresh();
}

export const leave = () => openHook(null);

/** After a redraw: the focus, which would be lost with the closed endpoint, goes to its row. */
export function drawn() {
  if (closed && !hooks.open) (document.getElementById(closed) ?? document.getElementById('hooks-title'))?.focus();
  closed = null;
}

export const HooksView = () => html`
  <section class="view-main" aria-labelledby="view-title">
    <${Head} title="Webhooks" />
    <div class="columns webhooks"><div class="left" inert=${Boolean(hooks.open) && !wide.matches}><${NewHook} /><${HookList} /></div><${HookDetail} /></div>
  </section>`;

export const keys = {
  Escape: ['Close the endpoint', () => { if (hooks.action) ask(null); else if (hooks.open) go('webhooks'); }],
};
