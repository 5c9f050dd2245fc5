// What screen readers read out. Of several messages about one subject within a moment
// only the last one is read.

const PAUSE_MS = 1_500;

const region = document.getElementById('announcer');
const waiting = new Map();
let timer = null;

/** Reads out `text`. A newer text with the same subject `about` replaces one that waits. */
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
