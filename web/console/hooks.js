// The state of the webhook endpoints: read while their view is shown, and changed by the actions of the user.
//
// Endpoints have no subscription. The page reads them periodically, and more often during a recovery.

import { announce } from '../app/announce.js';
import { Refused } from '../app/api.js';
import { rest } from '../app/rest.js';
import { changed } from '../app/state.js';
import { go, route } from './router.js';

/** The interval of reads, and that during a recovery. */
const READ_MS = 3_000;
const RECOVERY_MS = 1_000;
/** Number of attempts or messages of a page. */
export const PAGE = 50;
/** Number of messages that are shown at first, so that the attempts stay in sight. */
const FEW = 5;
/** The most attempts or messages that are shown. */
const MOST = 500;

export const hooks = {
  endpoints: null, // sorted by id, once they are known
  error: null,
  open: null, // the endpoint on the right, see openHook()
  form: { busy: false, errors: {}, all: true },
  secret: null, // the one that is shown: { id, value, isRotated }
  action: null, // what is asked about the open endpoint: { kind, busy, error }, and more for some kinds
};

/** The open endpoint, as far as it is known. */
export const openEndpoint = () => hooks.open && (hooks.open.endpoint ?? hooks.endpoints?.find(({ id }) => id === hooks.open.id));

/** What to tell the user about a failed request. */
const words = (error) => (error instanceof Refused ? error.message : 'No answer from the server. Check the endpoint before you try again.');

/** Takes an endpoint as the server knows it now. */
export function learnEndpoint(endpoint) {
  const known = hooks.endpoints ?? [];
  const isListed = known.some(({ id }) => id === endpoint.id);
  if (hooks.open?.id === endpoint.id) {
    const { open } = hooks;
    const before = open.endpoint?.recovery;
    open.endpoint = endpoint;
    if (endpoint.recovery && open.ended?.startedAt !== endpoint.recovery.startedAt) open.ended = null;
    if (before && !endpoint.recovery) {
      open.ended ??= { startedAt: before.startedAt };
      announce('The recovery has ended.', 'recovery');
    }
  }
  hooks.endpoints = isListed ? known.map((each) => (each.id === endpoint.id ? endpoint : each)) : known;
  changed();
}

let reading = false;
/** The number of actions, because a list that was read before one may be older than its answer. */
let actions = 0;
let again = false;
let timer = null;

/** Reads everything that is shown, now and then periodically while the view is shown. */
export async function refresh() {
  clearTimeout(timer);
  if (reading) { again = true; return; }
  reading = true;
  try {
    await readShown();
    hooks.error = null;
  } catch (error) {
    hooks.error = error instanceof Refused ? error.message : 'The server does not answer.';
  }
  reading = false;
  changed();
  if (again) { again = false; refresh(); return; }
  if (route.view === 'webhooks') timer = setTimeout(readLater, hooks.endpoints?.some(({ recovery }) => recovery) ? RECOVERY_MS : READ_MS);
}

function readLater() {
  if (document.hidden) timer = setTimeout(readLater, READ_MS);
  else refresh();
}

async function readShown() {
  const before = actions;
  const endpoints = await rest('GET', 'webhooks?limit=100');
  if (actions !== before) return;
  hooks.endpoints = endpoints;
  const { open } = hooks;
  if (!open || open.missing) return;
  try {
    const listed = hooks.endpoints.find(({ id }) => id === open.id);
    // That of another tenant is not in the list.
    const endpoint = listed ?? await rest('GET', `webhooks/${open.id}`);
    if (hooks.open === open && actions === before) learnEndpoint(endpoint);
    await Promise.all([readAttempts(open), readMessages(open)]);
  } catch (error) {
    if (error.code !== 'webhook_not_found') throw error;
    open.missing = true;
  }
}

const attemptsPath = ({ id, isFailedOnly }) => `webhooks/${id}/attempts?limit=${PAGE}${isFailedOnly ? '&outcome=failed' : ''}`;

/** Reads the newest attempts. Those before them stay, unless some between are unknown. */
async function readAttempts(open) {
  const { isFailedOnly } = open;
  const page = await rest('GET', attemptsPath(open));
  if (open.isFailedOnly !== isFailedOnly) return;
  const known = open.attempts ?? [];
  const last = page.at(-1)?.id;
  const older = known.filter(({ id }) => id < last);
  const isGapless = known.some(({ id }) => id === last);
  open.attempts = isGapless ? [...page, ...older].slice(0, MOST) : page;
  if (!isGapless || older.length === 0) open.hasOlder = page.length === PAGE;
}

/** Reads a page of older attempts. */
export async function readOlder() {
  const { open } = hooks;
  const { isFailedOnly } = open;
  await act('older', () => rest('GET', `${attemptsPath(open)}&before=${open.attempts.at(-1).id}`), (page) => {
    if (open.isFailedOnly !== isFailedOnly) return;
    const last = open.attempts.at(-1).id;
    open.attempts.push(...page.filter(({ id }) => id < last));
    open.hasOlder = page.length === PAGE && open.attempts.length < MOST;
  });
}

/** Shows all attempts, or only those that failed. */
export function filterAttempts(isFailedOnly) {
  Object.assign(hooks.open, { isFailedOnly, attempts: null, hasOlder: false });
  refresh();
  changed();
}

async function readMessages(open) {
  open.messages = await rest('GET', `webhooks/${open.id}/messages?limit=${open.wanted}`);
  open.hasMore = open.messages.length === open.wanted && open.wanted < MOST;
}

/** Shows more messages. */
export function readMore() {
  hooks.open.wanted = Math.min(MOST, hooks.open.wanted + PAGE);
  refresh();
}

/** Opens one endpoint, which the next read completes; `null` closes it. */
export function openHook(id) {
  hooks.open = id && {
    id, endpoint: hooks.endpoints?.find((each) => each.id === id) ?? null, missing: false,
    attempts: null, isFailedOnly: false, hasOlder: false, messages: null, wanted: FEW, hasMore: false,
    result: null, // the answer to the last test or resend: { kind, attempt }
    ended: null, // the recovery that has ended: { events }
  };
  hooks.action = null;
  changed();
}

/** Asks about an action, or about nothing. */
export function ask(action) {
  hooks.action = action;
  changed();
}

/**
 * Does something to the open endpoint: `send` sends the request, `done` gets its answer. A failure stays beside what was
 * asked.
 */
export async function act(kind, send, done = () => {}) {
  if (hooks.action?.busy) return;
  const { open } = hooks;
  actions += 1;
  const asked = { ...(hooks.action?.kind === kind ? hooks.action : {}), kind };
  const show = (action) => { if (hooks.open === open) ask(action); };
  show({ ...asked, busy: true, error: null });
  try {
    const answer = await send();
    actions += 1;
    show(null);
    done(answer);
  } catch (error) {
    show({ ...asked, busy: false, error: words(error) });
  }
  refresh();
}

/** Sends `webhook.ping`, or an event again, and shows what the receiver answered. */
export function sendNow(kind, eventId) {
  const { open } = hooks;
  open.result = null;
  return act(kind, () => rest('POST', `webhooks/${open.id}/${kind}`, eventId && { eventId }), (attempt) => {
    open.result = { kind, attempt };
    announce(`The receiver ${attempt.succeeded ? 'accepted' : 'did not accept'} the message: ${attempt.status ?? attempt.outcome}.`);
  });
}

/** Enables or disables the open endpoint. */
export const turn = (on) => act(on ? 'enable' : 'disable', () => rest('POST', `webhooks/${hooks.open.id}/${on ? 'enable' : 'disable'}`), (endpoint) => {
  learnEndpoint(endpoint);
  announce(`The endpoint is ${endpoint.state}.`);
});

export const rotate = () => act('rotate', () => rest('POST', `webhooks/${hooks.open.id}/rotate-secret`), ({ secret, endpoint }) => {
  hooks.secret = { id: endpoint.id, value: secret, isRotated: true };
  learnEndpoint(endpoint);
});

export function remove() {
  const { id } = hooks.open;
  return act('delete', () => rest('DELETE', `webhooks/${id}`), () => {
    hooks.endpoints = hooks.endpoints?.filter((each) => each.id !== id) ?? null;
    if (hooks.secret?.id === id) hooks.secret = null;
    announce('Endpoint deleted.');
    if (hooks.open?.id === id) go('webhooks');
  });
}

/** Counts the events since a time. The answer is what is asked next. */
export function countEvents(since) {
  const { open } = hooks;
  return act('recover', () => rest('POST', `webhooks/${open.id}/recover`, { since, dryRun: true }), (recovery) => {
    if (hooks.open === open) ask({ kind: 'recover', since, recovery });
  });
}

export function recover({ since }) {
  const { open } = hooks;
  return act('recover', () => rest('POST', `webhooks/${open.id}/recover`, { since }), ({ events, isMore, endpoint }) => {
    learnEndpoint(endpoint);
    // It may be over already.
    open.ended = { events, isMore, startedAt: endpoint.recovery?.startedAt };
    announce('The recovery has begun.', 'recovery');
  });
}

export function stopRecovery() {
  const { open } = hooks;
  return act('stop', () => rest('DELETE', `webhooks/${open.id}/recover`), (endpoint) => {
    open.endpoint = null;
    learnEndpoint(endpoint);
    open.ended = null;
    announce('The recovery was stopped.', 'recovery');
  });
}
