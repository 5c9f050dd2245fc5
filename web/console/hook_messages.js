// What was sent to an endpoint, and what still waits or has failed. Receivers write the responses: they are only text.

import { ago, count, dateTime, duration, sentence } from '../app/format.js';
import { filterAttempts, hooks, readMore, readOlder, sendNow } from './hooks.js';
import { html } from '../app/html.js';
import { href } from './router.js';

/** Notices are about endpoints, and cannot be sent again. */
const isOfOrder = (id) => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}-\d+$/i.test(id);

const MessageId = ({ id }) => (isOfOrder(id)
  ? html`<a href=${href(`orders/${id.slice(0, 36)}`)}><code>${id}</code></a>` : html`<code>${id}</code>`);

const Again = ({ id, what }) => isOfOrder(id) && html`
  <button type="button" class="quiet small" aria-label="Send again: ${what} ${id}" aria-disabled=${hooks.action?.busy}
    onClick=${() => sendNow('resend', id)}>Send again</button>`;

/** The status and the outcome of an attempt, its time and the start of the response. */
export function Attempt({ attempt, again }) {
  const { type, messageId, at, durationMs, succeeded, status, outcome, error, response } = attempt;
  return html`
    <p class="attempt"><span class="pill" data-hook=${succeeded ? 'active' : 'failing'}>${status} ${outcome}</span> <b>${type}</b>
      <span class="muted">${duration(durationMs)}${attempt.attempt > 1 && `, attempt ${count(attempt.attempt)}`}</span>
      <time dateTime=${at} title=${dateTime(at)}>${ago(at)}</time></p>
    <p class="message"><${MessageId} id=${messageId} />${again && html`<${Again} id=${messageId} what=${type} />`}</p>
    ${error && html`<p class="why">${sentence(error)}</p>`}
    ${response && html`<pre class="response" tabindex="0" aria-label="Start of the response">${response}</pre>`}`;
}

/** The answer to the last test or resend. */
export const Result = ({ result: { kind, attempt } }) => html`
  <section class="ask answer" key=${attempt.id} ref=${showOnce} aria-label=${kind === 'test' ? 'Result of the test' : 'Result of the resend'}><${Attempt} attempt=${attempt} /></section>`;

// It may have been sent from a row far below. The same function at every redraw, so preact calls it once for each answer.
const showOnce = (element) => element?.scrollIntoView({ block: 'nearest' });

export function Attempts({ open }) {
  const { attempts, isFailedOnly, hasOlder } = open;
  return html`
    <div class="head"><h3 id="attempts-title">Attempts</h3>
      <label class="check"><input type="checkbox" checked=${isFailedOnly} onChange=${(event) => filterAttempts(event.currentTarget.checked)} /> failed only</label></div>
    ${attempts?.length > 0 && html`<ol class="sent" aria-labelledby="attempts-title">${attempts.map((attempt) => html`
      <li key=${attempt.id}><${Attempt} attempt=${attempt} again /></li>`)}</ol>`}
    ${attempts?.length === 0 && html`<p class="muted">${isFailedOnly ? 'No attempt has failed in the last 7 days.' : 'Nothing was sent in the last 7 days.'}</p>`}
    ${!attempts && html`<p class="muted">Reading the attempts…</p>`}
    ${hasOlder && html`<button type="button" class="quiet further" onClick=${readOlder}>Show older attempts</button>`}`;
}

const WORDS = { waiting: 'Waiting', failed: 'Failed' };

/** The messages that wait for another attempt or have failed; nothing without one. */
export function Messages({ open, endpoint }) {
  const { messages, hasMore } = open;
  if (!messages?.length) return null;
  return html`
    <h3 id="messages-title">Messages that wait or have failed</h3>
    <ul class="sent" aria-labelledby="messages-title">${messages.map((message) => html`
      <li key=${message.id}>
        <p class="attempt"><span class="pill" data-hook=${message.state}>${WORDS[message.state] ?? message.state}</span>
          <span class="muted">${progress(message, endpoint)}</span></p>
        <p class="message"><${MessageId} id=${message.id} /><${Again} id=${message.id} what="the event" /></p>
        ${message.lastError && html`<p class="why">${sentence(message.lastError)}</p>`}
      </li>`)}</ul>
    ${hasMore && html`<button type="button" class="quiet further" onClick=${readMore}>Show more messages</button>`}`;
}

/** How often a message was sent, and what it waits for. */
function progress({ state, attempts, nextAttemptAt }, endpoint) {
  const made = `${count(attempts)} ${attempts === 1 ? 'attempt' : 'attempts'}`;
  if (state !== 'waiting') return made;
  if (endpoint.state !== 'active') return `${made}, waits for the endpoint`;
  return attempts === 0 ? 'after an earlier event of its order' : `${made}, next ${until(nextAttemptAt)}`;
}

/** The time until a moment, in words. */
export function until(iso, now = Date.now()) {
  const left = new Date(iso) - now;
  return left > 0 ? `in ${duration(Math.ceil(left / 1_000) * 1_000)}` : 'now';
}

export function Resend() {
  const failed = hooks.action?.kind === 'resend' ? hooks.action.error : null;
  const submit = (event) => {
    event.preventDefault();
    const id = event.currentTarget.elements.namedItem('event').value.trim();
    if (id && !hooks.action?.busy) sendNow('resend', id);
  };
  return html`
    <form class="resend" onSubmit=${submit} autocomplete="off">
      <label for="event">Send one event again <span class="hint">its id: order, hyphen, sequence</span></label>
      <div><input id="event" name="event" spellcheck="false" placeholder="01890a5d-ac96-774b-bcce-b302099a8057-3"
        aria-invalid=${failed ? 'true' : undefined} aria-describedby=${failed ? 'event-error' : undefined} />
      <button aria-disabled=${hooks.action?.busy}>Send</button></div>
      ${failed && html`<p class="error" id="event-error" role="alert">${sentence(failed)}</p>`}
    </form>`;
}
