// How many orders there are in each status: what the server has counted, and the changes since.
//
// Under load both may overlap or miss changes. The counts are therefore requested periodically and after each burst of
// changes; each response replaces the sum of the changes before it.

/** Changes older than this belong to the server's number, whatever it says later. */
const RECENT_MS = 10_000;
/** The maximum number of changes that are kept, so that each is added up once. */
const MOST = 20_000;

let counted = null;
let recent = []; // { at, from, to }, oldest first
const seen = new Set();

/** Takes the server's numbers: one for each status in lower case, `limit` and `countedAt`. */
export function learnCounts(numbers) {
  if (counted && numbers.countedAt < counted.countedAt) return;
  counted = { ...numbers };
  recent = recent.filter(({ at }) => at > counted.countedAt);
}

/** Takes a change of some order. False when it was told before. */
export function countEvent({ orderId, sequence, previousStatus, status, occurredAt }) {
  const name = `${orderId} ${sequence}`;
  if (seen.has(name)) return false;
  seen.add(name);
  if (seen.size > MOST) seen.delete(seen.values().next().value);
  if (!counted || occurredAt > counted.countedAt) recent.push({ at: occurredAt, from: previousStatus, to: status });
  if (recent.length > MOST) settle();
  return true;
}

/** Adds old changes to the server's numbers, so that only recent ones are kept. */
function settle() {
  const border = new Date(Date.parse(recent.at(-1).at) - RECENT_MS).toISOString();
  const old = recent.filter(({ at }) => at <= border);
  // More than that within ten seconds: the next answer of the server has them.
  recent = old.length > 0 ? recent.filter(({ at }) => at > border) : recent.slice(MOST / 2);
  if (counted) add(counted, old);
}

function add(numbers, changes) {
  for (const { from, to } of changes) {
    if (from) numbers[from.toLowerCase()] -= 1;
    numbers[to.toLowerCase()] += 1;
  }
  return numbers;
}

/** For a status in lower case: its number now and whether it is a lower bound. Null before the first answer. */
export function counts() {
  if (!counted) return null;
  const now = add({ ...counted }, recent);
  return (status) => {
    const capped = counted[status] >= counted.limit;
    return { number: capped ? counted.limit : Math.max(0, now[status]), capped };
  };
}
