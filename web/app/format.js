// How amounts, times and names are written.

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'narrow' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const whole = new Intl.NumberFormat();
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const currencies = new Map();

/** An exact amount, which is a decimal string and never passes through a float. */
export function money(amount, currency) {
  if (!currencies.has(currency)) {
    currencies.set(currency, new Intl.NumberFormat(undefined, { style: 'currency', currency }));
  }
  return currencies.get(currency).format(amount);
}

export const count = (number) => whole.format(number);
export const time = (iso) => clock.format(new Date(iso));
export const dateTime = (iso) => full.format(new Date(iso));

/** A number of orders per second, or a dash when it is not known. */
export const rate = (perSecond) => (perSecond === null ? '–' : perSecond < 9.95 ? tenths.format(perSecond) : whole.format(perSecond));

/** How long ago, in one unit. */
export function ago(iso, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - new Date(iso)) / 1000));
  if (seconds < 5) return 'now';
  if (seconds < 60) return relative.format(-seconds, 'second');
  if (seconds < 3_600) return relative.format(-Math.floor(seconds / 60), 'minute');
  if (seconds < 86_400) return relative.format(-Math.floor(seconds / 3_600), 'hour');
  return relative.format(-Math.floor(seconds / 86_400), 'day');
}

/** A length of time, from milliseconds. */
export function duration(ms) {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 10) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds / 3_600) % 24} h`;
}

/** What a pending order waits for, in words; null when it waits for nothing. `queue` is the state of the queue. */
export function waiting({ status, waitsFor, nextAttemptAt }, queue, now = Date.now()) {
  if (status !== 'PENDING' || !waitsFor) return null;
  const left = nextAttemptAt ? new Date(nextAttemptAt) - now : 0;
  if (left > 0 && waitsFor === 'SCHEDULE') return `scheduled for ${dateTime(nextAttemptAt)}`;
  if (left > 0 && waitsFor === 'RETRY') return `retry in ${duration(Math.ceil(left / 1_000) * 1_000)}`;
  if (queue.paused) return 'paused';
  return queue.workers === 0 ? 'no worker is connected' : 'waits for a worker';
}

/** What an order is about, in one line. */
export function title(order) {
  const more = order.lineItems.length - 1;
  return order.lineItems[0].item + (more > 0 ? ` and ${more} more` : '');
}

/** The server's words as a sentence: they begin with the name of a field. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const STATUS = { PENDING: 'Pending', PROCESSING: 'Processing', COMPLETED: 'Completed', FAILED: 'Failed', CANCELLED: 'Cancelled' };
export const STATUSES = Object.keys(STATUS);
export const statusName = (status) => STATUS[status] ?? status;
