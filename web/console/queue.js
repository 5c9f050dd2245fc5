// The queue: whether it is paused, what waits, and the pause with its end and its name.

import { count, dateTime, sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { Icon } from '../app/icons.js';
import { rest } from '../app/rest.js';
import { changed, isAuthenticated, may } from '../app/state.js';
import { onEvent } from './live.js';
import { queue } from './overview.js';
import { Dialog, Facts, Failure, Head, Loading, Tag, When, keep, recall, say, seconds } from './parts.js';
import { words } from './reader.js';
import { href, route } from './router.js';

export const enter = () => queue.start();
export const leave = () => queue.stop();

let soon = null;
onEvent(() => {
  if (route.view === 'queue') soon ??= setTimeout(() => { soon = null; queue.read(); }, 1_000);
});

/** What is asked: { kind, busy, error }. */
let asked = null;

export const QueueView = () => html`
  <section class="view-main narrow" aria-labelledby="view-title">
    <${Head} title="Queue" />
    ${queue.error && html`<${Failure} error=${queue.error} />`}
    ${queue.value ? html`<${State} state=${queue.value} /><${Depth} state=${queue.value} />` : !queue.error && html`<${Loading} what="the queue" />`}
  </section>`;

const State = ({ state }) => html`
  <div class="card queue-state" data-tone=${state.paused ? 'warn' : 'good'}>
    <div><p><${Tag} tone=${state.paused ? 'warn' : 'good'}>${state.paused ? 'Paused' : 'Running'}</${Tag}></p>
      <p class="queue-words">${state.paused
    ? html`Orders are accepted, and none is started${state.pausedUntil ? html` until <b><${When} at=${state.pausedUntil} /></b>` : ''}.`
    : state.workers === 0 ? 'No worker is connected: orders are accepted and wait.' : 'Orders are started as soon as a worker is free.'}</p>
      ${state.paused && html`<p class="muted small-text">Paused${state.pausedBy ? ` by ${state.pausedBy}` : ''}${state.pausedAt ? html` at <${When} at=${state.pausedAt} />` : ''}${state.pausedUntil ? '' : '. It has no end: it lasts until it is resumed'}.</p>`}</div>
    ${may('admin') && (state.paused
    ? html`<button type="button" class="primary" onClick=${() => ask('resume')}><${Icon} name="play" /> Resume…</button>`
    : html`<button type="button" onClick=${() => ask('pause')}><${Icon} name="pause" /> Pause…</button>`)}
  </div>`;

function Depth({ state }) {
  const { counts } = state;
  const value = (name) => (counts ? `${count(counts[name])}${counts[name] >= counts.limit ? '+' : ''}` : null);
  const link = (q, text) => (text === null ? null : html`<a href=${href('orders', { q })}>${text}</a>`);
  return html`<div class="card pad"><h2>What waits</h2><${Facts} pairs=${[
    ['Ready', state.length === null ? 'not known' : link('waits:worker', count(state.length))],
    ['Oldest', state.oldestReadySeconds === null || state.oldestReadySeconds === undefined ? 'not known' : state.oldestReadySeconds === 0 ? 'none waits' : `waits for ${seconds(state.oldestReadySeconds)}`],
    ['Pending', link('status:pending', value('pending'))],
    ['Processing', link('status:processing', value('processing'))],
    ['Jobs', state.jobs === null ? 'the queue cannot be reached' : count(state.jobs)],
    ['Workers', state.workers === null ? 'not known' : count(state.workers)],
    ['Retrying', link('waits:retry', 'Show')],
    ['Scheduled', link('waits:schedule', 'Show')],
  ]} /><p class="muted small-text">Ready orders can be started now. Pending ones include those that wait for a retry or their time. Jobs are hints in the queue: an order can have several or none.</p></div>`;
}

function ask(kind) {
  asked = { kind, busy: false, error: null };
  changed();
}

function close() {
  asked = null;
  changed();
}

const PERIODS = [['15', '15 minutes'], ['60', '1 hour'], ['240', '4 hours'], ['at', 'until a time'], ['', 'until it is resumed']];

/** The dialog of a pause or a resume. */
export function QueueDialog() {
  if (!asked) return null;
  const { kind, busy, error } = asked;
  const submit = (event) => {
    event.preventDefault();
    const value = (name) => event.currentTarget.elements.namedItem(name)?.value.trim() ?? '';
    if (busy) return;
    if (kind === 'resume') act('queue/resume', undefined, 'Processing is resumed.');
    else pause(value);
  };
  return html`<${Dialog} title=${kind === 'pause' ? 'Pause processing' : 'Resume processing'} onClose=${close}>
    <form class="fields" onSubmit=${submit} autocomplete="off">
      ${kind === 'pause' ? html`
        <p>Orders are accepted and wait. What is being processed is finished.</p>
        <div class="field"><label for="pause-for">How long</label><select id="pause-for" name="for" onChange=${(event) => { asked.isAt = event.currentTarget.value === 'at'; changed(); }}>${PERIODS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></div>
        ${asked.isAt && html`<div class="field"><label for="pause-at">Until</label><input id="pause-at" name="at" type="datetime-local" required /></div>`}
        ${!isAuthenticated() && html`<div class="field"><label for="pause-by">Your name <span class="hint">optional, shown to all</span></label><input id="pause-by" name="by" maxlength="60" defaultValue=${recall('name', '')} /></div>`}
        <div class="field"><label for="pause-reason">Reason <span class="hint">optional, shown to all</span></label><input id="pause-reason" name="reason" maxlength="35" /></div>`
    : html`<p>${queue.value?.length ? html`<b>${count(queue.value.length)}</b> orders are ready and start at once.` : 'Orders start again as soon as a worker is free.'}</p>`}
      <p class="actions"><button class="primary" aria-disabled=${busy}>${kind === 'pause' ? 'Pause' : 'Resume'}</button>
        <button type="button" class="quiet" onClick=${close}>${kind === 'pause' ? 'Keep it running' : 'Keep it paused'}</button></p>
      ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
    </form>
  </${Dialog}>`;
}

function pause(value) {
  const period = value('for');
  const end = period === 'at' ? new Date(value('at')) : period ? new Date(Date.now() + Number(period) * 60_000) : null;
  if (end && Number.isNaN(end.getTime())) { asked.error = 'Choose a time.'; return changed(); }
  if (value('by')) keep('name', value('by'));
  const name = value('by') || (isAuthenticated() ? '' : 'the console');
  const by = [name, value('reason') && `(${value('reason')})`].filter(Boolean).join(' ');
  return act('queue/pause', { ...(end && { until: end.toISOString() }), ...(by && { requestedBy: by.slice(0, 100) }) }, `Processing is paused${end ? ` until ${dateTime(end)}` : ''}.`);
}

async function act(path, body, done) {
  Object.assign(asked, { busy: true, error: null });
  changed();
  try {
    const value = await rest('POST', path, body);
    if (value?.paused !== undefined) queue.value = { ...queue.value, ...value };
    asked = null;
    say(done);
    queue.read();
  } catch (error) {
    if (asked) Object.assign(asked, { busy: false, error: words(error) });
  }
  changed();
}
