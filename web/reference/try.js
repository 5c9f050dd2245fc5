// Sends a request of an operation to this server and shows the answer.

import { html } from '../app/html.js';
import { at } from '../app/root.js';
import { content, example } from './document.js';

const REQUEST_MS = 30_000;
/** Characters of an answer that are shown. */
const SHOWN = 100_000;
/** A stream is read for this long. */
const STREAM_MS = 5_000;

/** What was sent and answered, by operation. */
const answers = new Map();

/** The values of the form as a path with its query, headers and a body. */
function requestOf(operation, form) {
  const value = (name) => form.elements.namedItem(name)?.value ?? '';
  let { path } = operation;
  const query = new URLSearchParams();
  const headers = {};
  for (const { name, in: place } of operation.parameters) {
    const text = value(`${place}.${name}`);
    if (place === 'path') path = path.replace(`{${name}}`, encodeURIComponent(text));
    else if (text && place === 'query') query.append(name, text);
    else if (text && place === 'header') headers[name] = text;
  }
  const type = content(operation.requestBody)?.type;
  const body = type ? value('body') : undefined;
  if (body) headers['content-type'] = type;
  return { path: path.replace(/^\//, '') + (query.size > 0 ? `?${query}` : ''), init: { method: operation.method.toUpperCase(), headers, body: body || undefined } };
}

async function send(operation, form, redraw) {
  const { path, init } = requestOf(operation, form);
  const began = performance.now();
  answers.set(operation.operationId, { isBusy: true });
  redraw();
  try {
    const response = await fetch(at(path), { ...init, signal: AbortSignal.timeout(REQUEST_MS) });
    const text = await read(response);
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* It is no JSON. */ }
    answers.set(operation.operationId, { status: `${response.status} ${response.statusText}`, isGood: response.ok, ms: performance.now() - began, text: shown.slice(0, SHOWN), headers: [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n') });
  } catch (error) {
    answers.set(operation.operationId, { error: error.name === 'TimeoutError' ? 'No answer in time.' : 'No answer from the server.' });
  }
  redraw();
}

/** Reads a body. A stream has no end: its beginning is shown. */
async function read(response) {
  if (!/event-stream/.test(response.headers.get('content-type') ?? '')) return response.text();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const stop = setTimeout(() => reader.cancel(), STREAM_MS);
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done || text.length > SHOWN) break;
    text += value;
  }
  clearTimeout(stop);
  return text;
}

/** The command that sends the same request. */
export function curl(document, operation) {
  const body = content(operation.requestBody);
  const sample = body && (body.example ?? example(document, body.schema));
  const path = at(operation.path.replace(/^\//, '')).replaceAll('%7B', '{').replaceAll('%7D', '}');
  return [`curl ${operation.method === 'get' ? '' : `-X ${operation.method.toUpperCase()} `}'${path}'`, body && `  -H 'Content-Type: ${body.type}'`, body && `  -d '${JSON.stringify(sample).replaceAll("'", "'\\''")}'`].filter(Boolean).join(' \\\n');
}

export function Try({ document, operation, redraw }) {
  const answer = answers.get(operation.operationId);
  const body = content(operation.requestBody);
  const submit = (event) => { event.preventDefault(); if (!answer?.isBusy) send(operation, event.currentTarget, redraw); };
  const id = (name) => `${operation.operationId}-${name}`;
  return html`<details class="try"><summary>Try it</summary><form onSubmit=${submit} autocomplete="off">
    ${operation.parameters.map(({ name, in: place, required }) => html`<div class="field" key=${name}><label for=${id(name)}>${name} <span class="hint">${place}${required ? ', required' : ''}</span></label><input id=${id(name)} name="${place}.${name}" required=${required} /></div>`)}
    ${body && html`<div class="field"><label for=${id('body')}>Body <span class="hint">${body.type}</span></label><textarea id=${id('body')} name="body" rows="6" spellcheck="false" defaultValue=${JSON.stringify(body.example ?? example(document, body.schema), null, 2)}></textarea></div>`}
    <p><button class="primary" aria-disabled=${answer?.isBusy}>Send ${operation.method.toUpperCase()}</button></p>
    ${answer?.error && html`<p class="error" role="alert">${answer.error}</p>`}
    ${answer?.status && html`<div class="answer" role="status"><p><b class=${answer.isGood ? 'good' : 'bad'}>${answer.status}</b> <span class="muted">${Math.round(answer.ms)} ms</span></p>
      <details><summary>Headers</summary><pre tabindex="0"><code>${answer.headers}</code></pre></details><pre tabindex="0"><code>${answer.text || '(empty)'}</code></pre></div>`}
  </form></details>`;
}
