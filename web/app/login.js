// The page at `/login`: exchanges an API key for a session, then opens the page that asked for one.

import { beginSession } from './session.js';

const form = document.querySelector('form');
const input = form.elements.credential;
const error = document.getElementById('error');
const button = form.querySelector('button');

/** The page to open, which must be one of this server. */
function target() {
  const next = new URLSearchParams(location.search).get('next') ?? './';
  const url = new URL(next, location.href);
  return url.origin === location.origin ? url.href : new URL('./', location.href).href;
}

function show(message) {
  error.textContent = message;
  input.setAttribute('aria-invalid', String(message !== ''));
  if (message) input.focus();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const credential = input.value.trim();
  if (!credential) return show('Paste an API key.');
  show('');
  button.disabled = true;
  try {
    await beginSession(credential);
    location.replace(target());
  } catch (problem) {
    show(problem.message);
  } finally {
    button.disabled = false;
  }
});

input.focus();
