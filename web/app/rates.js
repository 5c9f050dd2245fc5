// Orders per second over the last minutes, from the live events. The rates of seconds
// without a connection are unknown, not zero: those seconds are marked.

/** The number of seconds that are shown. */
export const SECONDS = 120;
/** The numbers are means over the last seconds. */
const MEAN_SECONDS = 10;
/** The last seconds are not shown yet: their events may be on the way. */
const SETTLING_SECONDS = 1;

const accepted = new Map();
const completed = new Map();
/** The times without a connection, in milliseconds of this computer's clock. The last one may be open. */
let gaps = [{ from: -Infinity, to: Infinity }];
/** The server's clock minus ours, in milliseconds. */
let ahead = -Infinity;

const second = (ms) => Math.floor(ms / 1_000);
const serverTime = (ours) => ours + (Number.isFinite(ahead) ? ahead : 0);

/** The server's clock said `iso` a moment ago. Of several such moments the shortest is the best. */
export function learnTime(iso, { anew = false } = {}) {
  const difference = Date.parse(iso) - Date.now();
  ahead = anew ? difference : Math.max(ahead, difference);
}

/** Takes a change of some order. */
export function rateEvent({ sequence, status, occurredAt }) {
  learnTime(occurredAt);
  const series = sequence === 1 ? accepted : status === 'COMPLETED' ? completed : null;
  if (!series) return;
  const at = second(Date.parse(occurredAt));
  series.set(at, (series.get(at) ?? 0) + 1);
}

/** Ends the time without a connection. */
export function seeing() {
  const last = gaps.at(-1);
  if (last.to === Infinity) last.to = Date.now();
}

/** Begins a time without a connection at `since`, in milliseconds of this computer's clock. */
export function blind(since) {
  if (gaps.at(-1).to !== Infinity) gaps.push({ from: since, to: Infinity });
}

/** Some events before now are missing. */
export function missed() {
  blind(Date.now());
  seeing();
}

/**
 * The last minutes, oldest first: for each second how many orders were `accepted` and `completed`, or null where
 * that is not known; and the means of the last seconds, or null.
 */
export function rates() {
  const end = second(serverTime(Date.now())) - SETTLING_SECONDS;
  const begin = end - SECONDS;
  gaps = gaps.filter((gap, n) => n === gaps.length - 1 || second(serverTime(gap.to)) >= begin);
  for (const series of [accepted, completed]) for (const at of series.keys()) if (at < begin) series.delete(at);
  const unknown = gaps.map(({ from, to }) => [second(serverTime(from)), second(serverTime(to))]);
  // A second that is known in part is shown, but of a short gap at least one is left out.
  const known = (at) => unknown.every(([from, to]) => at < from || at >= Math.max(to, from + 1));
  const seconds = Array.from({ length: SECONDS }, (_, n) => begin + n).map((at) => (
    known(at) ? { at, accepted: accepted.get(at) ?? 0, completed: completed.get(at) ?? 0 } : { at, accepted: null, completed: null }
  ));
  const last = seconds.slice(-MEAN_SECONDS).filter((each) => each.accepted !== null);
  const mean = (name) => (last.length > 0 ? last.reduce((sum, each) => sum + each[name], 0) / last.length : null);
  return { seconds, accepted: mean('accepted'), completed: mean('completed') };
}
