// What the tracking page reads: one order and its changes, with the token of its link.
//
// The token is in the fragment of the address, which a browser sends to no server. It goes into a header, so that no log
// contains it. `fetch` reads the stream of changes, because EventSource sends no headers.

import { at } from './root.js';

const token = new URLSearchParams(location.hash.slice(1)).get('t') ?? '';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A stream that was open this long was a good one: the next loss starts with the first wait again. */
const GOOD_AFTER_MS = 5_000;
/** The server sends something every 12 s. A stream that was silent for longer is read again. */
const SILENCE_MS = 30_000;
const REQUEST_MS = 15_000;

/** The server answered, and the page has no access to the order: it is `missing`, or its link is `unlinked` or `ended`. */
export class Refused extends Error {
  constructor(status) {
    super(`the server answered ${status}`);
    this.why = status !== 401 ? 'missing' : token ? 'ended' : 'unlinked';
  }
}

// The cookie of an operator is no link.
async function get(id, what, headers, signal) {
  const url = new URL(at(`track/${id}/${what}`));
  const authorization = token ? { authorization: `Tracking ${token}` } : {};
  const response = await fetch(url, { headers: { ...authorization, ...headers }, credentials: 'omit', signal });
  if ([400, 401, 404].includes(response.status)) throw new Refused(response.status);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response;
}

/** Reads the order. Throws `Refused`, or another error when there was no answer. */
export const readOrder = async (id) => (await get(id, 'order', {}, AbortSignal.timeout(REQUEST_MS))).json();

let hurry = () => {};
let stream = { abort() {}, heardAt: 0 };

/** Ends the wait before the next attempt. */
export const tryNow = () => hurry();

/** No event tells a page that its computer has slept. */
function wake() {
  if (document.hidden) return;
  if (Date.now() - stream.heardAt > SILENCE_MS) stream.abort();
  tryNow();
}

/** Keeps the stream up to date with the browser. Call it once. */
export function watchBrowser() {
  addEventListener('online', tryNow);
  // The stream would not notice for a while.
  addEventListener('offline', () => stream.abort());
  addEventListener('pageshow', wake);
  document.addEventListener('resume', wake);
  document.addEventListener('visibilitychange', wake);
}

/** Gives the changes after `after` to `take`, and what lies between them to `progress`, until the stream ends. */
async function readChanges(id, after, { take, progress, connected }) {
  const control = new AbortController();
  let timer;
  const heard = () => {
    clearTimeout(timer);
    stream.heardAt = Date.now();
    timer = setTimeout(() => control.abort(), SILENCE_MS);
  };
  stream = { abort: () => control.abort(), heardAt: 0 };
  heard();
  try {
    const response = await get(id, 'events', after > 0 ? { 'last-event-id': String(after) } : {}, control.signal);
    connected();
    if (response.status === 204) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const messages = (rest + value).split('\n\n');
      rest = messages.pop();
      for (const message of messages) {
        const data = /^data: ?(.*)$/m.exec(message)?.[1];
        const event = /^event: ?(.*)$/m.exec(message)?.[1];
        if (!data) continue;
        // The message `error` states why the link has ended. So does the next request.
        if (!event) take(JSON.parse(data));
        else if (event === 'progress') progress(JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(timer);
    control.abort();
  }
}

/**
 * Follows the changes after `cursor()` until `over()` or a refusal, which it throws. `connected` and `lost` are called
 * when the stream begins and when it fails.
 */
export async function follow(id, { cursor, take, progress, over, connected, lost }) {
  for (let failures = 0; !over();) {
    const begun = Date.now();
    try {
      await readChanges(id, cursor(), { take, progress, connected });
    } catch (error) {
      if (error instanceof Refused) throw error;
      lost();
    }
    if (over()) return;
    if (Date.now() - begun > GOOD_AFTER_MS) failures = 0;
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
    failures += 1;
    await new Promise((resolve) => {
      hurry = resolve;
      setTimeout(resolve, longest * (0.5 + Math.random() / 2));
    });
  }
}
