// Cancels or redrives many orders: counts them first, asks for the reason and the rate, then shows the progress.

import { announce } from '../app/announce.js';
import { count, sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { rest } from '../app/rest.js';
import { changed, isAuthenticated } from '../app/state.js';
import { Dialog, Missing, keep, recall } from './parts.js';
import { isMissing, words } from './reader.js';

/** Orders of one request: small enough that the progress moves and Stop is quick. */
const STEP = 200;
/** Orders of one request that counts, and the number of these requests. */
const COUNT_STEP = 1_000;
const MOST_COUNTS = 100;
/** Single commands that run at once. */
const AT_ONCE = 4;

const KINDS = {
  redrive: { path: 'dead-letters/redrive', verb: 'Redrive', done: 'redriven', one: 'redrive', ask: 'Why are they tried again?' },
  cancel: { path: 'orders/cancel', verb: 'Cancel', done: 'cancelled', one: 'cancel', ask: 'Why are they cancelled?' },
};

/** What is asked: { kind, filter or ids, total, isMore, isCounting, isRunning, done, refused, error, isStopped, isFinished, onDone }. */
let job = null;

/** Asks about an action on the orders of a `filter`, or of `ids`. */
export function askBulk({ kind, filter = null, ids = null, title = null, onDone = () => {} }) {
  job = { kind, filter, ids, title, onDone, total: ids?.length ?? null, isMore: false, isCounting: Boolean(filter), isRunning: false, done: 0, refused: 0, error: null, isStopped: false, isFinished: false, isMissing: false };
  changed();
  if (filter) countOrders(job);
}

async function countOrders(asked) {
  let after = null;
  let total = 0;
  try {
    for (let n = 0; n < MOST_COUNTS && job === asked; n += 1) {
      const answer = await rest('POST', KINDS[asked.kind].path, { filter: asked.filter, dryRun: true, limit: COUNT_STEP, ...(after && { after }) });
      total += answer.count;
      after = answer.next;
      Object.assign(asked, { total, isMore: Boolean(after) });
      changed();
      if (!after) break;
    }
  } catch (error) {
    if (isMissing(error)) asked.isMissing = true;
    else asked.error = words(error);
  }
  asked.isCounting = false;
  changed();
}

async function run(asked, { reason, requestedBy, rate }) {
  Object.assign(asked, { isRunning: true, error: null });
  changed();
  try {
    if (asked.ids) await runEach(asked, { reason, requestedBy });
    else await runFilter(asked, { reason, requestedBy, rate });
    asked.isFinished = !asked.isStopped && !asked.error;
  } catch (error) {
    asked.error = words(error);
  }
  asked.isRunning = false;
  announce(`${count(asked.done)} orders ${KINDS[asked.kind].done}.`);
  changed();
}

async function runFilter(asked, { reason, requestedBy, rate }) {
  let after = null;
  let startAt = null;
  do {
    const answer = await rest('POST', KINDS[asked.kind].path, {
      filter: asked.filter, limit: STEP, ...(reason && { reason }), ...(requestedBy && { requestedBy }), ...(after && { after }),
      ...(asked.kind === 'redrive' && rate && { ratePerSecond: rate, ...(startAt && { startAt }) }),
    });
    asked.done += answer.count;
    after = answer.next;
    startAt = answer.nextStartAt;
    changed();
  } while (after && !asked.isStopped);
}

async function runEach(asked, { reason, requestedBy }) {
  const left = [...asked.ids];
  const { one } = KINDS[asked.kind];
  const worker = async () => {
    while (left.length > 0 && !asked.isStopped && !asked.error) {
      const id = left.shift();
      try {
        await rest('POST', `orders/${id}/${one}`, { ...(reason && { reason }), ...(one === 'redrive' && requestedBy && { requestedBy }) });
        asked.done += 1;
      } catch (error) {
        // An order that has changed in the meantime is no reason to stop.
        if (error.status === 409) asked.refused += 1;
        else asked.error = words(error);
      }
      changed();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function close() {
  const ended = job;
  job = null;
  if (!ended) return;
  ended.isStopped = true;
  if (ended.done > 0) ended.onDone();
  changed();
}

/** The dialog of the action that is asked about. */
export function BulkDialog() {
  if (!job) return null;
  const { kind, total, isMore, isCounting, isRunning, isFinished, done, refused, error, ids, isStopped } = job;
  const { verb, ask } = KINDS[kind];
  const number = total === null ? '' : `${count(total)}${isMore ? '+' : ''}`;
  const orders = total === 1 && !isMore ? 'order' : 'orders';
  return html`<${Dialog} title=${job.title ?? `${verb} ${number ? `${number} ${orders}` : 'orders'}`} onClose=${close}>
    ${job.isMissing ? html`<${Missing} what=${`${verb} of all matching orders`} api=${`POST /${KINDS[kind].path}`} />` : html`
      <p class="bulk-count" role="status">${isCounting ? html`Counting… ${number}` : total === null ? '' : html`<b>${number}</b> ${kind === 'redrive' ? `failed ${orders} match` : `pending or running ${orders} match`}${total === 1 ? 'es' : ''}.`}</p>
      ${!isRunning && !isFinished && !isStopped && html`<${Form} verb=${verb} ask=${ask} kind=${kind} hasRate=${kind === 'redrive' && !ids} isReady=${!isCounting && total > 0} number=${number} />`}
      ${(isRunning || done > 0 || isFinished) && html`<${Progress} />`}`}
    ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
    ${refused > 0 && html`<p class="muted">${count(refused)} had changed in the meantime and were left as they are.</p>`}
    ${isFinished && done + refused < (total ?? 0) && html`<p class="muted">The others had changed in the meantime and were left as they are.</p>`}
    ${(isFinished || (isStopped && !isRunning) || job.isMissing) && html`<p class="actions"><button type="button" class="primary" onClick=${close}>Close</button></p>`}
  </${Dialog}>`;
}

function Form({ verb, ask, kind, hasRate, isReady, number }) {
  const submit = (event) => {
    event.preventDefault();
    const value = (name) => event.currentTarget.elements.namedItem(name)?.value.trim() ?? '';
    const rate = Number(value('rate')) || null;
    if (value('requestedBy')) keep('name', value('requestedBy'));
    if (isReady) run(job, { reason: value('reason'), requestedBy: value('requestedBy'), rate });
  };
  return html`<form class="fields" onSubmit=${submit} autocomplete="off">
    <div class="field"><label for="bulk-reason">${ask} <span class="hint">stored with each order</span></label><input id="bulk-reason" name="reason" maxlength="500" /></div>
    ${kind === 'redrive' && !isAuthenticated() && html`<div class="field"><label for="bulk-by">Your name <span class="hint">optional</span></label><input id="bulk-by" name="requestedBy" maxlength="100" defaultValue=${recall('name', '')} /></div>`}
    ${hasRate && html`<div class="field"><label for="bulk-rate">Starts per second <span class="hint">at most; empty for no limit</span></label><input id="bulk-rate" name="rate" type="number" min="1" max="10000" inputmode="numeric" placeholder="no limit" /></div>`}
    <p class="actions"><button class=${kind === 'cancel' ? 'danger' : 'primary'} aria-disabled=${!isReady}>${verb} ${number}</button>
      <button type="button" class="quiet" onClick=${close}>Leave them</button></p>
  </form>`;
}

const Progress = () => html`
  <progress value=${job.done + job.refused} max=${Math.max(1, job.total ?? 0, job.done + job.refused)} aria-label="Progress"></progress>
  <p class="muted" role="status">${count(job.done)} of ${count(Math.max(job.total ?? 0, job.done))} ${KINDS[job.kind].done}${job.isStopped && !job.isFinished ? ', stopped' : ''}</p>
  ${job.isRunning && html`<p class="actions"><button type="button" onClick=${() => { job.isStopped = true; changed(); }}>Stop</button></p>`}`;
