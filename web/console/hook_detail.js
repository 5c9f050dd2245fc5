// The open webhook endpoint: what it is, what can be done with it, and what was sent to it.

import { count, dateTime, sentence } from '../app/format.js';
import { HookState, lag, trouble } from './hook_list.js';
import { Attempts, Messages, Resend, Result, until } from './hook_messages.js';
import { AskRecovery, Recovery } from './hook_recover.js';
import { Secret } from './hook_secret.js';
import { ask, hooks, openEndpoint, remove, rotate, sendNow, turn } from './hooks.js';
import { html } from '../app/html.js';
import { href } from './router.js';
import { wide } from '../app/screen.js';

export function HookDetail() {
  const { open, error } = hooks;
  if (!open) return html`<aside class="detail none"><p>Choose an endpoint to see what was sent to it.</p></aside>`;
  const endpoint = openEndpoint();
  return html`
    <aside class="card detail hook-detail" aria-label="Endpoint" key=${open.id}>
      <a class="close" id="hook-close" href=${href('webhooks')} aria-label="Close the endpoint" title="Close (Esc)" ref=${focusWhenCovering}>×</a>
      ${endpoint && !open.missing ? html`<${Known} open=${open} endpoint=${endpoint} />`
        : html`<p class="notice muted">${open.missing ? 'There is no endpoint with this id.' : (error ?? 'Reading the endpoint…')}</p>`}
    </aside>`;
}

function Known({ open, endpoint }) {
  return html`
    <p class="big"><${HookState} endpoint=${endpoint} /></p>
    <h2>${endpoint.url}</h2>
    ${endpoint.description && html`<p class="sum muted">${endpoint.description}</p>`}
    <${Secret} id=${endpoint.id} />
    <${Actions} endpoint=${endpoint} />
    ${open.result && html`<${Result} result=${open.result} />`}
    <${Recovery} endpoint=${endpoint} ended=${open.ended} />
    <${Facts} endpoint=${endpoint} />
    <${Messages} open=${open} endpoint=${endpoint} />
    <${Resend} />
    <${Attempts} open=${open} />`;
}

function Facts({ endpoint }) {
  const why = trouble(endpoint);
  const { types, customer, currency, payload, format, ratePerSecond, concurrency, lastError, nextProbeAt } = endpoint;
  const filter = [customer && `of ${customer}`, currency && `in ${currency}`].filter(Boolean).join(' ');
  return html`
    <dl>
      ${why && html`<div><dt>State</dt><dd class="why">${sentence(why)}</dd></div>`}
      ${why && lastError && html`<div><dt>Last error</dt><dd>${sentence(lastError)}</dd></div>`}
      ${nextProbeAt && html`<div><dt>Next</dt><dd class="waits">One message ${until(nextProbeAt)}</dd></div>`}
      <div><dt>Progress</dt><dd>${sentence(lag(endpoint))}</dd></div>
      <div><dt>Events</dt><dd>${types.join(', ')}${filter && ` ${filter}`}</dd></div>
      <div><dt>Payload</dt><dd>${payload}, ${format}</dd></div>
      <div><dt>Limits</dt><dd>${count(concurrency)} at once${ratePerSecond && `, ${count(ratePerSecond)} per second`}</dd></div>
      <div><dt>Created</dt><dd>${dateTime(endpoint.createdAt)} by ${endpoint.createdBy}</dd></div>
      <div><dt>Id</dt><dd><code>${endpoint.id}</code></dd></div>
    </dl>`;
}

/** What asks before it is done. */
const QUESTIONS = {
  rotate: {
    ask: 'The endpoint gets a new secret. The old one signs for 24 hours more, in which you change the receiver.',
    button: 'Rotate secret', no: 'Leave it', yes: rotate, tone: 'primary',
  },
  delete: {
    ask: 'The endpoint gets no more events. Its messages and attempts are removed.',
    button: 'Delete endpoint', no: 'Keep it', yes: remove, tone: 'cancel',
  },
};

function Actions({ endpoint: { state } }) {
  const { action } = hooks;
  const question = QUESTIONS[action?.kind];
  if (question) return html`<${Ask} question=${question} action=${action} />`;
  if (action?.kind === 'recover') return html`<${AskRecovery} action=${action} />`;
  const busy = action?.busy;
  const click = (what) => () => { if (!busy) what(); };
  return html`
    <p class="actions">
      <button type="button" aria-disabled=${busy} onClick=${click(() => sendNow('test'))}>${busy && action.kind === 'test' ? 'Sending…' : 'Send test'}</button>
      ${state !== 'active' && html`<button type="button" aria-disabled=${busy} onClick=${click(() => turn(true))}>${state === 'failing' ? 'Send now' : 'Enable'}</button>`}
      ${state !== 'disabled' && html`<button type="button" aria-disabled=${busy} onClick=${click(() => turn(false))}>Disable</button>`}
      <button type="button" aria-disabled=${busy} onClick=${click(() => ask({ kind: 'recover' }))}>Recover…</button>
      <button type="button" aria-disabled=${busy} onClick=${click(() => ask({ kind: 'rotate' }))}>Rotate secret…</button>
      <button type="button" class="cancel" aria-disabled=${busy} onClick=${click(() => ask({ kind: 'delete' }))}>Delete…</button>
    </p>
    ${action?.error && !['resend', 'stop'].includes(action.kind) && html`<p class="error" role="alert">${sentence(action.error)}</p>`}`;
}

const Ask = ({ question, action: { busy, error } }) => html`
  <div class="ask" role="group" aria-label=${question.button}>
    <p ref=${focusOnce} tabindex="-1">${question.ask}</p>
    <p class="actions">
      <button type="button" class=${question.tone} aria-disabled=${busy} onClick=${() => !busy && question.yes()}>${question.button}</button>
      <button type="button" class="quiet" onClick=${() => ask(null)}>${question.no}</button>
    </p>
    ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
  </div>`;

// Both are the same function at every redraw, so preact calls them only when the element appears.
const focusOnce = (element) => element?.focus();
const focusWhenCovering = (link) => { if (!wide.matches) link?.focus(); };
