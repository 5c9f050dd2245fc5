// Marks in the charts: what operators did and which gateways have started, so that a change of the numbers has a cause.
//
// Pauses come from the audit log and gateways from the system, if the caller may read them. Redrives are in the statistics.

import { count } from '../app/format.js';
import { may } from '../app/state.js';
import { Reader } from './reader.js';

const READ_MS = 30_000;
/** The most marks, of which the newest are shown. */
const MOST = 40;

const audit = new Reader('audit-log?limit=500', READ_MS);
const system = new Reader('system', READ_MS);

export function startMarks() {
  if (may('keys:manage')) audit.start();
  if (may('metrics:read')) system.start();
}

export function stopMarks() { for (const reader of [audit, system]) reader.stop(); }

const ACTIONS = { 'queue.pause': ['warn', 'paused'], 'queue.resume': ['good', 'resumed'] };

function ofAudit({ action, actor, at }) {
  const [tone, verb] = ACTIONS[action];
  return { at, tone, text: actor === 'anonymous' ? verb : `${verb} by ${actor}` };
}

/** A run of buckets with redrives is one mark. */
function ofRedrives(buckets) {
  const found = [];
  buckets.forEach(({ redriven, at }, n) => {
    if (!redriven) return;
    if (buckets[n - 1]?.redriven) found.at(-1).number += redriven;
    else found.push({ at, tone: 'accent', number: redriven });
  });
  return found.map(({ number, ...rest }) => ({ ...rest, text: `${count(number)} redriven` }));
}

/** The marks within the buckets, oldest first: `{ at, n, tone, text }`, where `n` is the bucket. */
export function marksOf({ from, stepSeconds, buckets }) {
  const found = [
    ...(audit.value ?? []).filter(({ action }) => action in ACTIONS).map(ofAudit),
    ...(system.value?.gateways ?? []).map(({ startedAt, version }) => ({ at: startedAt, tone: 'idle', text: `a gateway started, version ${version}` })),
    ...ofRedrives(buckets),
  ];
  return found.map((mark) => ({ ...mark, n: Math.floor((new Date(mark.at) - new Date(from)) / (stepSeconds * 1_000)) }))
    .filter(({ n }) => n >= 0 && n < buckets.length)
    .sort((a, b) => new Date(a.at) - new Date(b.at)).slice(-MOST);
}
