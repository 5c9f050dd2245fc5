// The state of the connection, and who the caller is.

import { html } from './html.js';
import { endSession } from './session.js';
import { isAuthenticated, state } from './state.js';

const CONNECTION = { connecting: 'Connecting…', live: 'Live', lost: 'Offline' };

export const Connection = () => html`<span class="connection ${state.connection}"><span>${CONNECTION[state.connection]}</span></span>`;

export const Account = () => isAuthenticated() && html`
  <span class="muted" title=${`Tenant ${state.session.tenant}`}>${state.session.name}</span>
  <button type="button" class="quiet" onClick=${endSession}>Sign out</button>`;
