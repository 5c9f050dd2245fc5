// API keys and the audit log.

import { count, sentence } from '../app/format.js';
import { html } from '../app/html.js';
import { rest, restPage } from '../app/rest.js';
import { at } from '../app/root.js';
import { changed, isAuthenticated, state } from '../app/state.js';
import { Ago, Dialog, Failure, Head, Loading, Tag, When, copy, say } from './parts.js';
import { words } from './reader.js';
import { href, route } from './router.js';

const PAGE = 100;

const access = { keys: null, entries: null, older: null, error: null, asked: null, issued: null };

export function enter() {
  access.error = null;
  read();
}
export const leave = () => {};

async function read() {
  try {
    if (route.id === 'audit') {
      const { items } = await restPage(`audit-log?limit=${PAGE}`);
      Object.assign(access, { entries: items, older: items.length === PAGE ? items.at(-1).id : null });
    } else access.keys = await rest('GET', 'api-keys?limit=500');
    access.error = null;
  } catch (error) {
    access.error = words(error);
  }
  changed();
}

async function readOlder() {
  try {
    const items = await rest('GET', `audit-log?limit=${PAGE}&before=${access.older}`);
    Object.assign(access, { entries: [...access.entries, ...items], older: items.length === PAGE ? items.at(-1).id : null });
  } catch (error) {
    access.error = words(error);
  }
  changed();
}

export const AccessView = () => html`<section class="view-main" aria-labelledby="view-title">
  <${Head} title="Access">${route.id !== 'audit' && html`<button type="button" class="primary small" onClick=${() => ask({ kind: 'create' })}>New key…</button>`}</${Head}>
  <nav class="segments" aria-label="Parts of this view"><a href=${href('access')} aria-current=${route.id !== 'audit' ? 'true' : undefined}>API keys</a><a href=${href('access/audit')} aria-current=${route.id === 'audit' ? 'true' : undefined}>Audit log</a></nav>
  ${access.error && html`<${Failure} error=${access.error} />`}
  ${route.id === 'audit' ? html`<${Audit} />` : html`<${Keys} />`}
</section>`;

const TONES = { active: 'good', expired: 'idle', revoked: 'bad' };

function Keys() {
  const { keys } = access;
  if (!keys) return access.error ? null : html`<${Loading} what="the keys" />`;
  return html`
    ${!isAuthenticated() && html`<p class="note-box">This server asks for no key: every caller may do everything. Start it with <code>--auth keys</code> to change that. <a href=${at('guide/operate/access.html')}>How access works</a></p>`}
    ${keys.length === 0 ? html`<div class="card none-left"><p><b>No API keys yet.</b></p><p class="muted">Create one for each client, so that each can be revoked alone.</p></div>` : html`
    <div class="table-wrap"><table class="table"><thead><tr><th>State</th><th>Name</th><th>Id</th><th class="c-wide">Tenant</th><th class="c-wide">Scopes</th><th class="num">Last used</th><th class="num c-wide">Expires</th><th><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${keys.map((key) => html`<tr key=${key.id}><td><${Tag} tone=${TONES[key.state]}>${sentence(key.state)}</${Tag}></td><td>${key.name}</td><td><code>${key.id}</code></td><td class="c-wide">${key.tenant ?? 'all'}</td><td class="c-wide wrap">${key.scopes.join(', ')}</td>
        <td class="num">${key.lastUsedAt ? html`<${Ago} at=${key.lastUsedAt} />` : 'never'}</td><td class="num c-wide"><${When} at=${key.expiresAt} /></td>
        <td class="num row-actions">${key.state === 'active' && html`<button type="button" class="quiet small" aria-label="Rotate ${key.name}" onClick=${() => ask({ kind: 'rotate', key })}>Rotate…</button> <button type="button" class="quiet small" aria-label="Revoke ${key.name}" onClick=${() => ask({ kind: 'revoke', key })}>Revoke…</button>`}</td></tr>`)}</tbody></table></div>`}`;
}

function Audit() {
  const { entries, older } = access;
  if (!entries) return access.error ? null : html`<${Loading} what="the audit log" />`;
  if (entries.length === 0) return html`<div class="card none-left"><p><b>The audit log is empty.</b></p><p class="muted">Pauses, keys, webhooks and commands of operators are written here.</p></div>`;
  return html`<div class="table-wrap" tabindex="0" role="region" aria-label="Audit log"><table class="table"><thead><tr><th>Time</th><th>Who</th><th>Action</th><th>Object</th><th class="c-wide">Detail</th><th class="c-wide c-wider">Request</th></tr></thead>
    <tbody>${entries.map((entry) => html`<tr key=${entry.id}><td><${When} at=${entry.at} /></td><td>${entry.actor}</td><td><code>${entry.action}</code></td><td>${entry.target}</td><td class="c-wide wrap">${entry.detail ?? ''}</td><td class="c-wide c-wider"><code>${entry.requestId ?? ''}</code></td></tr>`)}</tbody></table></div>
    ${older && html`<nav class="pager"><span></span><span class="muted">${count(entries.length)} entries</span><button type="button" class="small" onClick=${readOlder}>Older</button></nav>`}`;
}

function ask(asked) {
  access.asked = asked;
  access.issued = null;
  changed();
}
const close = () => ask(null);

const ROLES = ['reader', 'writer', 'operator', 'worker', 'owner', 'admin'];
const TITLES = { create: 'New API key', rotate: 'Rotate the key', revoke: 'Revoke the key' };

/** The dialog of a new key, a rotation or a revocation; the key itself is shown once. */
export function AccessDialog() {
  const { asked, issued } = access;
  if (!asked) return null;
  if (issued) {
    return html`<${Dialog} key="issued" title="The key is shown only now" onClose=${close}>
      <p>Store it where its client reads it. The server keeps only a hash of it.</p>
      <div class="field"><label for="issued-key">API key</label><input id="issued-key" class="mono" readonly value=${issued} onFocus=${(event) => event.currentTarget.select()} /></div>
      <p class="actions"><button type="button" class="primary" onClick=${() => copy(issued, 'Key')}>Copy</button><button type="button" class="quiet" onClick=${close}>I have stored it</button></p></${Dialog}>`;
  }
  const { kind, key, busy, error } = asked;
  return html`<${Dialog} key=${kind} title=${TITLES[kind]} onClose=${close}>
    <form class="fields" autocomplete="off" onSubmit=${(event) => { event.preventDefault(); if (!busy) act(asked, event.currentTarget.elements); }}>
      ${kind === 'create' && html`
        <div class="field"><label for="key-name">Name</label><input id="key-name" name="key-name" maxlength="100" required placeholder="shop" /></div>
        <div class="field"><label for="key-role">Role</label><select id="key-role" name="role">${ROLES.map((role) => html`<option key=${role} value=${role}>${role}</option>`)}</select></div>
        <div class="field"><label for="key-days">Lifetime in days</label><input id="key-days" name="days" type="number" min="1" max="400" defaultValue="90" /></div>
        ${state.session?.allTenants && html`<label class="check"><input type="checkbox" name="all" /> for all tenants</label>`}`}
      ${kind === 'rotate' && html`<p>The key <b>${key.name}</b> (<code>${key.id}</code>) gets a successor. The old one stays valid for some hours, in which you change its client.</p>
        <div class="field"><label for="key-grace">Hours that the old key stays valid</label><input id="key-grace" name="grace" type="number" min="0" max="720" defaultValue="24" /></div>`}
      ${kind === 'revoke' && html`<p>Requests with <b>${key.name}</b> (<code>${key.id}</code>) are refused at once. This cannot be undone.</p>`}
      <p class="actions"><button class=${kind === 'revoke' ? 'danger' : 'primary'} aria-disabled=${busy}>${{ create: 'Create key', rotate: 'Rotate key', revoke: 'Revoke key' }[kind]}</button><button type="button" class="quiet" onClick=${close}>Leave it</button></p>
      ${error && html`<p class="error" role="alert">${sentence(error)}</p>`}
    </form></${Dialog}>`;
}

async function act(asked, elements) {
  const value = (name) => elements.namedItem(name)?.value.trim();
  const requests = {
    create: () => rest('POST', 'api-keys', { name: value('key-name'), role: value('role'), ttlDays: Number(value('days')) || 90, ...(elements.namedItem('all')?.checked && { allTenants: true }) }),
    rotate: () => rest('POST', `api-keys/${asked.key.id}/rotate`, { graceHours: Number(value('grace')) }),
    revoke: () => rest('DELETE', `api-keys/${asked.key.id}`),
  };
  Object.assign(asked, { busy: true, error: null });
  changed();
  try {
    const answer = await requests[asked.kind]();
    if (access.asked === asked) {
      access.issued = answer?.key ?? null;
      if (!access.issued) access.asked = null;
    }
    say({ create: 'The key is created.', rotate: 'The key has a successor.', revoke: 'The key is revoked.' }[asked.kind]);
    read();
  } catch (error) {
    Object.assign(asked, { busy: false, error: words(error) });
  }
  changed();
}
