// Reads something from the REST API for a view: once, or periodically while the view is shown.

import { Refused } from '../app/api.js';
import { rest } from '../app/rest.js';
import { changed } from '../app/state.js';

export class Reader {
  value = null;
  error = null;
  /** Whether the server does not have this API. */
  isMissing = false;
  #path;
  #everyMs;
  #timer = null;
  #isActive = false;
  #reading = 0;

  /** `path` is a string or a function. Without `everyMs` it is read once for each `start`. */
  constructor(path, everyMs = 0) {
    this.#path = typeof path === 'function' ? path : () => path;
    this.#everyMs = everyMs;
  }

  start() {
    this.#isActive = true;
    return this.read();
  }

  stop() {
    this.#isActive = false;
    clearTimeout(this.#timer);
  }

  /** Forgets the value, because another one is wanted. */
  clear() {
    this.value = null;
    this.error = null;
  }

  async read() {
    clearTimeout(this.#timer);
    this.#reading += 1;
    const number = this.#reading;
    const path = this.#path();
    try {
      const value = await rest('GET', path);
      if (number !== this.#reading) return;
      Object.assign(this, { value, error: null, isMissing: false });
    } catch (error) {
      if (number !== this.#reading) return;
      this.isMissing = isMissing(error);
      this.error = this.isMissing ? null : words(error);
    }
    changed();
    if (this.#isActive && this.#everyMs && !this.isMissing) this.#later();
  }

  #later() {
    this.#timer = setTimeout(() => (document.hidden ? this.#later() : this.read()), this.#everyMs);
  }
}

/** Whether a failed request means that the server does not have the API. */
export const isMissing = (error) => error instanceof Refused && (error.status === 404 || error.status === 405) && ['not_found', 'route_not_found', 'method_not_allowed'].includes(error.code);

/** What to tell the user about a failed request. */
export const words = (error) => (error instanceof Refused
  ? [error.message, ...Object.entries(error.fields ?? {}).map(([name, text]) => (error.message.includes(name) ? null : `${name} ${text}`)).filter(Boolean)].join(': ')
  : 'No answer from the server.');
