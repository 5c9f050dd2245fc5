// The webhook endpoints of the caller's tenant, and how far each of them is.

import { html } from '../app/html.js';
import { at } from '../app/root.js';
import { href } from './router.js';
import { count, duration, sentence } from '../app/format.js';
import { hooks } from './hooks.js';

export function HookList() {
  const { endpoints, error, open } = hooks;
  return html`
    <section class="card list" aria-labelledby="hooks-title">
      <h2 id="hooks-title" tabindex="-1">Webhook endpoints</h2>
      ${error && html`<p class="error notice" role="alert">The endpoints could not be read: ${sentence(error)}</p>`}
      ${endpoints?.length > 0 && html`<ul class="rows">${endpoints.map((endpoint) => html`
        <${Row} key=${endpoint.id} endpoint=${endpoint} selected=${open?.id === endpoint.id} />`)}</ul>`}
      ${endpoints?.length === 0 && html`<div class="empty"><p><strong>No endpoints yet</strong></p>
        <p class="muted">Create one above. It receives every event from then on, signed. <a href=${at('guide/guides/webhooks.html')}>How to receive them</a></p></div>`}
      ${!endpoints && !error && html`<p class="notice muted">Reading the endpoints…</p>`}
    </section>`;
}

function Row({ endpoint, selected }) {
  const { id, url, description, recovery } = endpoint;
  return html`
    <li>
      <a class="hook" id="hook-${id}" href=${href(`webhooks/${id}`)} aria-current=${selected ? 'true' : undefined}>
        <span class="what"><span class="name">${url}</span>${description && html`<span class="who">${description}</span>`}</span>
        <${HookState} endpoint=${endpoint} />
        <span class="facts"><${Facts} endpoint=${endpoint} /></span>
        ${recovery && html`<span class="recovery"><${Progress} recovery=${recovery} /></span>`}
      </a>
    </li>`;
}

const STATE = { active: 'Active', failing: 'Failing', disabled: 'Disabled' };

export const HookState = ({ endpoint: { state } }) => html`<span class="pill" data-hook=${state}>${STATE[state] ?? state}</span>`;

const DISABLED = {
  request: 'disabled on request',
  gone: 'disabled: the receiver answered 410 Gone',
  failures: 'disabled after five days of failures',
};

/** Why an endpoint is not active, in words; null if it is. */
export function trouble({ state, disabledReason, failingSince }, now = Date.now()) {
  if (state === 'disabled') return DISABLED[disabledReason] ?? 'disabled';
  return state === 'failing' && failingSince ? `failing for ${duration(now - new Date(failingSince))}` : null;
}

/** How far an endpoint is behind the events, in words. */
export const lag = ({ lagEvents, lagSeconds }) => (lagEvents === 0 ? 'up to date'
  : `${events(lagEvents)} behind, the oldest ${lagSeconds < 60 ? `${lagSeconds} s` : duration(lagSeconds * 1_000)}`);

export const events = (number) => `${count(number)} ${number === 1 ? 'event' : 'events'}`;

function Facts({ endpoint }) {
  const { waitingMessages: waiting, failedMessages: failed } = endpoint;
  const why = trouble(endpoint);
  return html`
    ${why && html`<span class="why">${why}</span>`}
    <span>${lag(endpoint)}</span>
    ${waiting > 0 && html`<span class="waits">${count(waiting)} waiting</span>`}
    ${failed > 0 && html`<span class="why">${count(failed)} failed</span>`}`;
}

/** The progress of a recovery: a bar and the numbers. */
export const Progress = ({ recovery: { done, total } }) => html`
  <progress value=${done} max=${Math.max(1, total)} aria-label="Recovery"></progress>
  <span>recovers ${count(done)} of ${events(total)}</span>`;
