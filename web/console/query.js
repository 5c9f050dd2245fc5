// The search field of orders: `status:failed customer:ann@ total>100 since:1h lamp` as the parameters of a list.

const UNITS = { m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** Each qualifier: what it selects, its parameter, and values to offer. */
export const QUALIFIERS = {
  status: { hint: 'one or several, separated by commas', param: 'status', values: ['pending', 'processing', 'completed', 'failed', 'cancelled'] },
  customer: { hint: 'beginning of the customer', param: 'customerPrefix' },
  ref: { hint: 'beginning of the shop\'s own number', param: 'referencePrefix' },
  class: { hint: 'error class, such as http_503', param: 'errorClass' },
  reason: { hint: 'reason, as its group; ** stands for anything', param: 'reason' },
  kind: { hint: 'the kind of the order', param: 'kind' },
  waits: { hint: 'what a pending order waits for', param: 'waitsFor', values: ['worker', 'retry', 'schedule', 'pause'] },
  worker: { hint: 'worker of the latest attempt', param: 'worker' },
  item: { hint: 'part of the name of an item', param: 'itemContains' },
  since: { hint: 'created within, such as 1h or 2026-01-31', param: 'createdFrom', values: ['15m', '1h', '6h', '24h', '7d'] },
  before: { hint: 'created before, such as 1h or 2026-01-31', param: 'createdBefore', values: ['1h', '24h', '7d'] },
  currency: { hint: 'ISO code, such as EUR', param: 'currency' },
  total: { hint: 'total>100 or total<20', operators: true },
};

/** The beginning of a qualifier of the metadata; the key follows, with upper and lower case. */
const METADATA = 'metadata.';
const isMetadata = (key) => key?.startsWith(METADATA) && key.length > METADATA.length;

/** Views that are always offered. */
export const VIEWS = [
  ['All', ''],
  ['Waiting', 'status:pending'],
  ['Retrying', 'waits:retry'],
  ['Scheduled', 'waits:schedule'],
  ['Failed', 'status:failed'],
  ['Cancelled', 'status:cancelled'],
];

const TERM = /(metadata\.[\w.-]+|[a-z]+)(:|>=|<=|>|<)("[^"]*"?|\S+)|"[^"]*"?|\S+/gi;

const unquoted = (text) => text.replace(/^"|"$/g, '');
const quoted = (text) => (/\s/.test(text) ? `"${text}"` : text);

/** Splits a query into its terms: `{ key, operator, value, raw }`, where bare words have no key. */
export const terms = (text) => [...text.matchAll(TERM)].map(([raw, key, operator, value]) => (
  isMetadata(key) && operator === ':' ? { key, operator, value: unquoted(value), raw } : key && QUALIFIERS[key.toLowerCase()] ? { key: key.toLowerCase(), operator, value: unquoted(value), raw } : { key: null, value: unquoted(raw), raw }));

/** A moment: a length of time before now, or a date. Null if it is neither. */
function moment(text, now) {
  const [, number, unit] = /^(\d{1,6})([mhdw])$/.exec(text) ?? [];
  if (unit) return new Date(now - number * UNITS[unit] * 1_000).toISOString();
  const date = /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text) : null;
  return date && !Number.isNaN(date.getTime()) ? date.toISOString() : null;
}

/** The parameters of a list for a query, and the `problem` with it, if there is one. */
export function parse(text, now = Date.now()) {
  const params = {};
  const bare = [];
  let problem = null;
  for (const { key, operator, value, raw } of terms(text)) {
    if (!key) bare.push(value);
    else if (isMetadata(key)) params[key] = value;
    else if (key === 'total') {
      if (!/^\d+(\.\d+)?$/.test(value)) problem ??= `The term ${raw} needs a number, such as total>100`;
      if (operator.startsWith('<')) params.totalTo = value;
      else if (operator.startsWith('>')) params.totalFrom = value;
      else Object.assign(params, { totalFrom: value, totalTo: value });
    } else if (key === 'since' || key === 'before') {
      const time = moment(value, now);
      if (!time) problem ??= `The term ${raw} needs a length of time or a date, such as ${key}:1h or ${key}:2026-01-31`;
      params[QUALIFIERS[key].param] = time;
    } else {
      const known = QUALIFIERS[key].values;
      const wrong = known && value.split(',').find((each) => !known.includes(each));
      if (wrong !== undefined && wrong !== false && known) problem ??= `The value of ${key}: is one of ${known.join(', ')}`;
      params[QUALIFIERS[key].param] = value;
    }
  }
  if (bare.length > 0) params.search = bare.join(' ');
  return { params, problem };
}

/** A query without one of its terms. */
export const without = (text, index) => terms(text).filter((_, n) => n !== index).map(({ raw }) => raw).join(' ');

/** A query with a term, which replaces those of the same qualifier. */
export const withTerm = (text, key, value) => [...terms(text).filter((term) => term.key !== key).map(({ raw }) => raw), `${key}:${quoted(value)}`].join(' ');

/** The parameters as the filter of a command, which has no status: a command selects the orders that it can change. */
export function filterOf(text) {
  const { status, ...params } = parse(text).params;
  const [metadata, filter] = [true, false].map((wanted) => Object.fromEntries(Object.entries(params).filter(([name]) => Boolean(isMetadata(name)) === wanted)));
  // A body has the metadata as one object.
  const keys = Object.entries(metadata).map(([name, value]) => [name.slice(METADATA.length), value]);
  if (keys.length > 0) filter.metadata = Object.fromEntries(keys);
  return { filter, statuses: status ? status.split(',') : null };
}

/**
 * What can stand at the end of the field: qualifiers, or values of the one that is being typed. `known` has values that
 * were seen, by qualifier.
 */
export function completions(text, known = {}) {
  const last = /\S*$/.exec(text)[0];
  const head = text.slice(0, text.length - last.length);
  const [, key, value] = /^([a-z]+):(.*)$/i.exec(last) ?? [];
  if (key && QUALIFIERS[key.toLowerCase()]) {
    const name = key.toLowerCase();
    const values = [...new Set([...(QUALIFIERS[name].values ?? []), ...(known[name] ?? [])])];
    return values.filter((each) => each.toLowerCase().startsWith(value.toLowerCase()) && each !== value).slice(0, 8)
      .map((each) => ({ text: `${head}${name}:${quoted(each)} `, label: `${name}:${each}`, hint: '' }));
  }
  const offers = Object.entries(QUALIFIERS).map(([name, { hint, operators }]) => [`${name}${operators ? '>' : ':'}`, hint]);
  return [...offers, [METADATA, 'value of a key, such as metadata.channel:web']].filter(([label]) => label.startsWith(last.toLowerCase())).slice(0, 13)
    .map(([label, hint]) => ({ text: `${head}${label}`, label, hint }));
}
