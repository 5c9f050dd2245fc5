// How a request to the public REST API is sent.

import { Refused } from './api.js';
import { at } from './root.js';
import { signIn } from './session.js';

const REQUEST_MS = 15_000;

/** A refusal with the words for each field of the body, such as `{ url: 'is required' }`. */
class Problem extends Refused {
  constructor(status, { detail, title, code, errors = [] }) {
    super({ message: detail ?? title, extensions: { code } });
    this.status = status;
    this.fields = {};
    for (const error of errors) {
      const field = error.pointer?.split('/')[1] ?? error.parameter;
      if (field) this.fields[field] ??= error.detail;
    }
  }
}

async function send(method, path, body, headers = {}) {
  const response = await fetch(at(path), {
    method,
    headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (response.status === 401) signIn();
  if (response.status === 204) return [null, response];
  const answer = await response.json();
  if (!response.ok) throw new Problem(response.status, answer);
  return [answer, response];
}

/**
 * Sends a request and returns the JSON of the response, or null without one. Throws `Refused` with the server's words and
 * those for each of the `fields`, or another error when there was no answer.
 */
export const rest = async (method, path, body, headers) => (await send(method, path, body, headers))[0];

/** Sends a request for the `version` that was read, if any, and returns the `value` of the response with its `version`. */
export async function restVersion(method, path, body, version) {
  const [value, response] = await send(method, path, body, version ? { 'if-match': version } : {});
  return { value, version: response.headers.get('etag') };
}

/** Reads a page of a list: its `items`, and the cursors of the `next` and the `prev` page as far as there are any. */
export async function restPage(path) {
  const [items, response] = await send('GET', path);
  const link = response.headers.get('link') ?? '';
  const cursor = (relation, parameter) => {
    const target = new RegExp(`<([^>]*)>; rel="${relation}"`).exec(link)?.[1];
    return target ? new URL(target, at('')).searchParams.get(parameter) : null;
  };
  return { items, next: cursor('next', 'after'), prev: cursor('prev', 'before') };
}
