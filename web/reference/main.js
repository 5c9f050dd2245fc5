// The REST reference, from the OpenAPI document of this server.

import { render } from '../vendor/preact/preact.mjs';
import { announce } from '../app/announce.js';
import { Header } from '../app/header.js';
import { html } from '../app/html.js';
import { at } from '../app/root.js';
import { content, groups, limitsOf, matches, members, typeOf } from './document.js';
import { Try, curl } from './try.js';

const root = document.getElementById('app');
const header = document.getElementById('header');

const page = { api: null, error: null, wanted: '' };

function draw() {
  render(html`<${Header} current="docs" redraw=${draw} />`, header);
  render(html`<${Page} />`, root);
}

/** Converts backticks to code, and empty lines to paragraphs. */
const marks = (text) => text.split('`').map((part, n) => (n % 2 === 1 ? html`<code key=${n}>${part}</code>` : part));
const Words = ({ text, ...rest }) => (text ? html`<div ...${rest}>${text.split('\n\n').map((part) => html`<p key=${part}>${marks(part)}</p>`)}</div>` : null);

function Page() {
  const { api, error, wanted } = page;
  if (error) return html`<main class="ref-main"><h1>REST reference</h1><p class="error" role="alert">${error}</p></main>`;
  if (!api) return html`<main class="ref-main"><h1>REST reference</h1><p class="muted">Reading the reference…</p></main>`;
  const shown = groups(api).map((group) => ({ ...group, operations: group.operations.filter((operation) => matches(operation, wanted)) })).filter(({ operations }) => operations.length > 0);
  return html`
    <nav class="ref-side" aria-label="Operations">
      <input type="search" aria-label="Filter operations" placeholder="Filter" value=${wanted} onInput=${(event) => { page.wanted = event.currentTarget.value; draw(); }} />
      ${shown.map(({ name, operations }) => html`<section key=${name}><h2>${name}</h2><ul>${operations.map(({ operationId, method, path }) => html`
        <li key=${operationId}><a href="#${operationId}"><${Method} name=${method} /> <span>${path}</span></a></li>`)}</ul></section>`)}
      ${shown.length === 0 && html`<p class="muted">No operation matches.</p>`}
    </nav>
    <main class="ref-main">
      <h1>REST reference</h1>
      <${Words} text=${api.info.description} class="ref-intro" />
      <p class="muted">Version ${api.info.version} · <a href=${at('openapi.json')}>openapi.json</a> is the same for programs · <a href=${at('problems')}>error codes</a> · <a href=${at('guide/guides/rest.html')}>guide</a></p>
      ${shown.map(({ name, description, operations }) => html`<section key=${name} class="ref-group"><h2>${name}</h2><p class="muted">${description}</p>
        ${operations.map((operation) => html`<${Operation} key=${operation.operationId} operation=${operation} />`)}</section>`)}
    </main>`;
}

const Method = ({ name }) => html`<b class="method" data-method=${name}>${name === 'delete' ? 'DEL' : name.toUpperCase()}</b>`;

/** The path with its parameters in another colour. */
const Path = ({ path }) => html`<code class="path">${path.split(/(\{[^}]+\})/).map((part, n) => (n % 2 === 1 ? html`<span key=${n}>${part}</span>` : part))}</code>`;

function Operation({ operation }) {
  const { operationId, method, path, summary, description, parameters, requestBody, responses } = operation;
  const body = content(requestBody);
  return html`<article class="card operation" id=${operationId} aria-labelledby="${operationId}-title">
    <h3 id="${operationId}-title"><${Method} name=${method} /> <${Path} path=${path} /></h3>
    <${Words} text=${[summary, description].filter(Boolean).join('\n\n')} class="ref-words" />
    <div class="command"><pre tabindex="0"><code>${curl(page.api, operation)}</code></pre><button type="button" class="quiet" onClick=${() => copy(curl(page.api, operation))}>Copy</button></div>
    ${parameters.length > 0 && html`<h4>Parameters</h4><${Rows} rows=${parameters.map((each) => ({ name: each.name, place: each.in, isRequired: each.required, schema: each.schema, description: each.description, depth: 0 }))} />`}
    ${body && html`<details class="part"><summary>Body <code>${body.type}</code> ${typeOf(page.api, body.schema)}</summary><${Rows} rows=${members(page.api, body.schema)} /></details>`}
    <h4>Responses</h4>
    <ul class="responses">${Object.entries(responses).map(([status, response]) => html`<li key=${status}><${Response} status=${status} response=${response} /></li>`)}</ul>
    <${Try} document=${page.api} operation=${operation} redraw=${draw} />
  </article>`;
}

function Response({ status, response }) {
  const body = content(response);
  const rows = body && body.type !== 'application/problem+json' ? members(page.api, body.schema) : [];
  const line = html`<b class=${status < 300 ? 'good' : status < 400 ? '' : 'bad'}>${status}</b> <span>${marks(response.description)}</span>`;
  if (rows.length === 0) return html`<p class="response-line">${line}</p>`;
  return html`<details class="part"><summary class="response-line">${line} <code>${typeOf(page.api, body.schema)}</code></summary><${Rows} rows=${rows} /></details>`;
}

const Rows = ({ rows }) => html`<dl class="members">${rows.map(({ name, title, place, depth, schema, isRequired, description }, n) => (title ? html`<div key=${n} class="alternative"><dt>${title}</dt><dd></dd></div>` : html`
  <div key=${n} data-depth=${depth}><dt><code>${name}</code>${isRequired ? html` <span class="required">required</span>` : ''}</dt>
    <dd><span class="type">${[place, typeOf(page.api, schema), limitsOf(schema)].filter(Boolean).join(' · ')}</span>${description && html`<span>${marks(description.replaceAll('\n', ' '))}</span>`}</dd></div>`))}</dl>`;

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce('Command copied.');
  } catch {
    announce('The browser does not permit it.');
  }
}

async function read() {
  try {
    const response = await fetch(at('openapi.json'));
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    page.api = await response.json();
  } catch (error) {
    page.error = `The reference cannot be read: ${error.message}.`;
  }
  draw();
  // The target of the address did not exist when the page was loaded.
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

root.replaceChildren();
header.replaceChildren();
draw();
read();
