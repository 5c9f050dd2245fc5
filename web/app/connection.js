// One websocket for everything that is live. When it is lost, it is opened again without a limit of attempts, after
// a growing, random wait, and each subscription resumes after the last event that it has seen.

import { socketUrl } from './api.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A connection that lived this long was a good one: the next loss starts with the first wait again. */
const GOOD_AFTER_MS = 5_000;
/** The interval of pings, and the time that the server has to answer one. */
const PING_MS = 10_000;
const PONG_MS = 5_000;
/** A socket that was silent for longer is closed: no event tells a page that its computer has slept. */
const SILENCE_MS = PING_MS + PONG_MS + 1_000;

let listener = { connected() {}, lost() {} };
let following = 0;
let failures = 0;
let connectedAt = 0;
let heardAt = 0;
let pongTimer;

const client = globalThis.graphqlWs.createClient({
  url: socketUrl(),
  retryAttempts: 0, // follow() does that, with the newest cursor
  keepAlive: PING_MS,
  connectionAckWaitTimeout: LONGEST_WAIT_MS,
  on: {
    connected() {
      connectedAt = Date.now();
      listener.connected();
    },
    closed(event) {
      if ([4401, 4403].includes(event?.code)) listener.unauthenticated?.();
      clearTimeout(pongTimer);
      const now = Date.now();
      if (following > 0) listener.lost(now - heardAt > SILENCE_MS ? heardAt : now);
    },
    message() { heardAt = Date.now(); },
    ping(received) {
      if (!received) pongTimer = setTimeout(() => client.terminate(), PONG_MS);
    },
    pong(received) {
      if (received) clearTimeout(pongTimer);
    },
  },
});

let hurry = () => {};
let waiting = null;

/** Waits before the next attempt; all subscriptions share the wait. */
function backoff() {
  waiting ??= new Promise((resolve) => {
    if (Date.now() - connectedAt > GOOD_AFTER_MS && connectedAt > 0) failures = 0;
    connectedAt = 0;
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++);
    hurry = resolve;
    setTimeout(resolve, longest * (0.5 + Math.random() / 2));
  }).finally(() => { waiting = null; });
  return waiting;
}

/** Ends the wait before the next attempt. */
export const tryNow = () => hurry();

/** The page can be seen again, or the computer has woken up: is the socket still there? */
function wake() {
  if (document.hidden) return;
  if (connectedAt > 0 && Date.now() - heardAt > SILENCE_MS) client.terminate();
  tryNow();
}

/**
 * Tells when the socket is `connected()`, when it was `lost(since)`, in milliseconds since 1970, and, if the listener
 * has it, when the server does not accept the credential: `unauthenticated()`. Call it once, before the first `follow`.
 */
export function watchConnection(callbacks) {
  listener = callbacks;
  addEventListener('online', tryNow);
  // The socket would not notice for a while.
  addEventListener('offline', () => client.terminate());
  addEventListener('pageshow', wake);
  document.addEventListener('resume', wake);
  document.addEventListener('visibilitychange', wake);
}

/**
 * Keeps a subscription alive until `over()` or until the function that it returns is called. `variables()` is asked
 * at each attempt. A refusal goes to `refused`; it is tried again all the same.
 */
export function follow(query, variables, next, { over = () => false, refused = () => {} } = {}) {
  let stopped = false;
  let unsubscribe = () => {};
  const attempt = () => new Promise((resolve) => {
    const failed = (why) => {
      if (Array.isArray(why)) refused(why[0]);
      resolve();
    };
    const take = (message) => (message.errors ? failed(message.errors) : next(message.data));
    unsubscribe = client.subscribe({ query, variables: variables() }, { next: take, error: failed, complete: resolve });
  });
  const stop = () => {
    if (stopped) return;
    stopped = true;
    following -= 1;
    unsubscribe();
  };
  following += 1;
  (async () => {
    while (!stopped && !over()) {
      await attempt();
      unsubscribe();
      if (!stopped && !over()) await backoff();
    }
    stop();
  })();
  return stop;
}
