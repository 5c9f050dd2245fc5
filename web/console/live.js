// The live connection of the console: one socket and one subscription, whose events go to the view that is shown.

import { announce } from '../app/announce.js';
import { FEED } from '../app/api.js';
import { follow, watchConnection } from '../app/connection.js';
import { signIn } from '../app/session.js';
import { set } from '../app/state.js';

const listeners = new Set();
const reconnected = new Set();

/** `callback` gets every change of an order, or `null` when some were missed. Returns the function that ends it. */
export function onEvent(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

/** `callback` is called when the connection is open again. */
export function onReconnect(callback) { reconnected.add(callback); }

const tell = (event) => { for (const listener of listeners) listener(event); };

/** Opens the connection. */
export function startLive() {
  let wasLost = false;
  watchConnection({
    unauthenticated: signIn,
    connected() {
      set({ connection: 'live' });
      if (wasLost) {
        announce('Connected again.', 'connection');
        tell(null);
        for (const callback of reconnected) callback();
      }
      wasLost = false;
    },
    lost() {
      if (!wasLost) announce('Connection lost. Trying again.', 'connection');
      wasLost = true;
      set({ connection: 'lost' });
    },
  });
  follow(FEED, () => ({}), ({ orderEvents }) => tell('missed' in orderEvents ? null : orderEvents));
}
