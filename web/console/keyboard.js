// The keys of the console. Each also has a button or a link; `?` lists them.

import { html } from '../app/html.js';
import { changed } from '../app/state.js';
import { Dialog } from './parts.js';

/** The wait for the second key after `g`. */
const CHORD_MS = 1_500;

let isHelpOpen = false;
let chordAt = 0;
let views = [];
let keysOf = () => ({});

export function toggleHelp(isOpen = !isHelpOpen) {
  isHelpOpen = isOpen;
  changed();
}

const isTyping = (target) => target.closest?.('input, textarea, select, [contenteditable]');

function press(event) {
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || document.querySelector('dialog[open]')) return;
  const keys = keysOf();
  if (isTyping(event.target) && (event.key !== 'Escape' && event.target.type !== 'checkbox')) return;
  if (event.timeStamp - chordAt < CHORD_MS && chordAt > 0) {
    chordAt = 0;
    const view = views.find(({ key }) => key === event.key);
    if (view) { event.preventDefault(); view.open(); }
    return;
  }
  if (event.key === 'g') { chordAt = event.timeStamp; return; }
  if (event.key === '?') { event.preventDefault(); toggleHelp(true); return; }
  // Enter on a link or a button is theirs.
  if (event.key === 'Enter' && event.target.closest?.('a, button, summary, input')) return;
  const action = keys[event.key]?.[1];
  if (!action) return;
  event.preventDefault();
  action();
}

/** `targets` are `{ key, name, open }`; `current` returns the keys of the view that is shown. */
export function startKeyboard(targets, current) {
  views = targets;
  keysOf = current;
  addEventListener('keydown', press);
}

const Keys = ({ title, rows }) => html`<section><h3>${title}</h3><dl class="keys">${rows.map(([keys, text]) => html`<div key=${text}><dt>${keys.map((key) => html`<kbd key=${key}>${key}</kbd>`)}</dt><dd>${text}</dd></div>`)}</dl></section>`;

export const Help = () => isHelpOpen && html`<${Dialog} title="Keyboard" onClose=${() => toggleHelp(false)}>
  <div class="help">
    <${Keys} title="This view" rows=${Object.entries(keysOf()).map(([key, [text]]) => [[key === 'Escape' ? 'Esc' : key], text])} />
    <${Keys} title="Go to" rows=${views.map(({ key, name }) => [['g', key], name])} />
    <${Keys} title="Everywhere" rows=${[[['?'], 'This list'], [['Esc'], 'Close']]} />
  </div></${Dialog}>`;
