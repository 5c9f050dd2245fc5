// How a request to the public REST API is sent.

import { Refused } from './api.js';
import { signIn } from './session.js';

const REQUEST_MS = 15_000;

/** A refusal with the words for each field of the body, such as `{ url: 'is required' }`. */
class Problem extends Refused {
  constructor({ detail, title, code, errors = [] }) {
    super({ message: detail ?? title, extensions: { code } });
    this.fields = {};
    for (const error of errors) {
      const field = error.pointer?.split('/')[1];
      if (field) this.fields[field] ??= error.detail;
    }
  }
}

/**
 * Sends a request and returns the JSON of the response, or null without one. Throws `Refused` with the server's words and
 * those for each of the `fields`, or another error when there was no answer.
 */
export async function rest(method, path, body) {
  // Beside this file's folder, wherever the page itself is.
  const response = await fetch(new URL(`../${path}`, import.meta.url), {
    method,
    headers: body ? { 'content-type': 'application/json' } : {},
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (response.status === 401) signIn();
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Problem(answer);
  return answer;
}
