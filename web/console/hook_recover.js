// Delivers the events since a time again: asks for the time, shows the number of events, and then the progress.

import { dateTime, sentence } from '../app/format.js';
import { Progress, events } from './hook_list.js';
import { ask, countEvents, hooks, recover, stopRecovery } from './hooks.js';
import { html } from '../app/html.js';

const HOUR_MS = 3_600_000;
const SINCE = [['1', 'the last hour'], ['24', 'the last 24 hours'], ['time', 'a time…']];

/** The running recovery, or that which has ended. */
export function Recovery({ endpoint, ended }) {
  const { recovery } = endpoint;
  if (recovery) {
    return html`
      <div class="ask recovery">
        <p><${Progress} recovery=${recovery} /></p>
        <p class="actions"><button type="button" aria-disabled=${hooks.action?.busy} onClick=${stopRecovery}>Stop the recovery</button></p>
        ${hooks.action?.kind === 'stop' && hooks.action.error && html`<p class="error" role="alert">${sentence(hooks.action.error)}</p>`}
      </div>`;
  }
  return ended && html`<p class="result" data-hook="active">The recovery has ended${
    ended.events === undefined ? '' : `: ${ended.isMore ? 'more than ' : ''}${events(ended.events)} sent again`}.</p>`;
}

export function AskRecovery({ action }) {
  return action.recovery ? html`<${Confirm} action=${action} />` : html`<${Since} action=${action} />`;
}

function Since({ action: { chosen = '1', busy, error, wrong } }) {
  const submit = (event) => {
    event.preventDefault();
    if (busy) return;
    const time = event.currentTarget.elements.namedItem('time');
    if (time && !time.value) ask({ kind: 'recover', chosen, wrong: 'Choose a time.' });
    else countEvents(new Date(time ? time.value : Date.now() - chosen * HOUR_MS).toISOString());
  };
  return html`
    <form class="ask" onSubmit=${submit} novalidate autocomplete="off">
      <label for="since">Deliver again the events of</label>
      <select id="since" ref=${focusOnce} value=${chosen} onChange=${(event) => ask({ kind: 'recover', chosen: event.currentTarget.value })}>
        ${SINCE.map(([value, text]) => html`<option value=${value}>${text}</option>`)}
      </select>
      ${chosen === 'time' && html`<div class="field">
        <label for="since-time">Since, in your time zone</label>
        <input id="since-time" name="time" type="datetime-local" step="1" aria-invalid=${wrong ? 'true' : undefined} aria-describedby=${wrong ? 'since-error' : undefined} />
        ${wrong && html`<p class="error" id="since-error" role="alert">${wrong}</p>`}
      </div>`}
      <p class="actions">
        <button class="primary" aria-disabled=${busy}>${busy ? 'Counting…' : 'Count the events'}</button>
        <button type="button" class="quiet" onClick=${() => ask(null)}>Back</button>
      </p>
      ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
    </form>`;
}

function Confirm({ action }) {
  const { since, busy, error, recovery: { events: number, isMore, logBegins } } = action;
  return html`
    <div class="ask" role="group" aria-label="Recovery">
      <p ref=${focusOnce} tabindex="-1"><strong>${isMore && 'More than '}${events(number)}</strong> since ${dateTime(since)} ${
        number === 1 && !isMore ? 'is' : 'are'} delivered again.${number > 0 && ' The receiver gets them a second time, beside the new ones.'}</p>
      ${logBegins && html`<p class="hint">The event log begins at ${dateTime(logBegins)}.</p>`}
      <p class="actions">
        ${number > 0 && html`<button type="button" class="primary" aria-disabled=${busy} onClick=${() => !busy && recover(action)}>Deliver again</button>`}
        <button type="button" class="quiet" onClick=${() => ask(null)}>${number > 0 ? 'Leave it' : 'Back'}</button>
      </p>
      ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
    </div>`;
}

const focusOnce = (field) => field?.focus();
