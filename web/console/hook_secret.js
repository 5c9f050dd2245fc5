// The secret of a webhook endpoint, which the server shows once. It stays until the user has stored it.

import { announce } from '../app/announce.js';
import { html } from '../app/html.js';
import { hooks } from './hooks.js';
import { changed } from '../app/state.js';

export function Secret({ id }) {
  const { secret } = hooks;
  if (secret?.id !== id) return null;
  return html`
    <section class="ask secret" aria-labelledby="secret-title">
      <h3 id="secret-title">${secret.isRotated ? 'The new secret' : 'The secret'}</h3>
      <p>It is shown only now. The receiver verifies signatures with it.${secret.isRotated && ' The old secret signs for 24 hours more.'}</p>
      <label for="secret" class="unseen">Secret of the endpoint</label>
      <input id="secret" readonly spellcheck="false" value=${secret.value} ref=${selectOnce} />
      <p class="actions">
        <button type="button" class="primary" onClick=${() => copy(secret)}>${secret.isCopied ? 'Copied' : 'Copy'}</button>
        <button type="button" class="quiet" onClick=${stored}>I have stored it</button>
      </p>
      ${secret.isRefused && html`<p class="hint" role="status">The browser does not permit it. The secret is selected: copy it with the keyboard.</p>`}
    </section>`;
}

// The same function at every redraw, so preact calls it only when the element appears. The beginning stays in sight.
const selectOnce = (field) => {
  field?.focus();
  field?.setSelectionRange(0, field.value.length, 'backward');
};

/** Pages of a host without TLS cannot write to the clipboard, except on the user's own machine. */
async function copy(secret) {
  try {
    await navigator.clipboard.writeText(secret.value);
    Object.assign(secret, { isCopied: true, isRefused: false });
    announce('Secret copied.');
  } catch {
    secret.isRefused = true;
    selectOnce(document.getElementById('secret'));
  }
  changed();
}

function stored() {
  hooks.secret = null;
  document.getElementById('hook-close')?.focus();
  changed();
}
