// What screen readers read out. Not everything that happens: of several news about the same thing within a moment the
// last one is told.

const PAUSE_MS = 1_500;

const region = document.getElementById('announcer');
const waiting = new Map();
let timer = null;

/** Tells `text`. `about` is what it is about; a newer text about the same takes the place of one that waits. */
export function announce(text, about = 'action') {
  waiting.delete(about);
  waiting.set(about, text);
  if (timer === null) tell();
}

function tell() {
  timer = null;
  if (waiting.size === 0) return;
  region.textContent = [...waiting.values()].join(' ');
  waiting.clear();
  timer = setTimeout(tell, PAUSE_MS);
}
