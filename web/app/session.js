// The session of this browser: a cookie that the server sets for an API key. Without authentication there is none.

import { at } from './root.js';

const url = at('session');

/** Begins a session. Throws an error with a sentence for the user. */
export async function beginSession(credential) {
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ credential }) };
  const response = await fetch(url, { ...request, signal: AbortSignal.timeout(15_000) }).catch(() => {
    throw new Error('The server cannot be reached. Try again.');
  });
  if (response.ok) return;
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ?? problem.title ?? `the server answered ${response.status}`;
  throw new Error(`${detail[0].toUpperCase()}${detail.slice(1)}.`);
}

/** Returns the caller of this page, or null when it cannot be read. */
export async function readSession() {
  const response = await fetch(url, { signal: AbortSignal.timeout(15_000) }).catch(() => null);
  return response?.ok ? response.json() : null;
}

/** Ends the session and opens the page to sign in. */
export async function endSession() {
  await fetch(url, { method: 'DELETE', signal: AbortSignal.timeout(15_000) }).catch(() => null);
  signIn();
}

let leaving = false;

/** Opens the page to sign in, which then returns to this one. */
export function signIn() {
  if (leaving) return;
  leaving = true;
  const next = encodeURIComponent(location.pathname + location.search + location.hash);
  location.assign(`${at('login')}?next=${next}`);
}
