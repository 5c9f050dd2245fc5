// Answers of the operator API with fixed numbers, for checks whose real numbers would depend on time: an outage, a gap.

const MINUTE = 60_000;
const now = () => Date.now();
const ago = (ms) => new Date(now() - ms).toISOString();

const percentiles = (count, p50) => ({ count, p50Seconds: p50, p95Seconds: p50 * 4, p99Seconds: p50 * 7, maxSeconds: p50 * 9 });

/** A bucket of the statistics: an outage of a carrier in the middle, and a gap before it. */
function bucket(n, all, at) {
  const part = n / all;
  if (part > 0.22 && part < 0.28) return { at, complete: false, accepted: 0, started: 0, completed: 0, failed: 0, retried: 0, cancelled: 0, redriven: 0, failedByClass: [], retriedByClass: [], wait: null, handling: null, completion: null, ready: null };
  const wave = Math.round(40 + 22 * Math.sin(n / 5) + 9 * Math.sin(n * 1.7));
  const isOutage = part > 0.55 && part < 0.72;
  const failed = isOutage ? 6 + (n % 5) : n % 11 === 0 ? 1 : 0;
  const failedByClass = failed ? [{ errorClass: isOutage ? 'http_503' : 'timeout', count: Math.ceil(failed * 0.7) }, ...(failed > 3 ? [{ errorClass: 'timeout', count: failed - Math.ceil(failed * 0.7) }] : [])] : [];
  const slow = isOutage ? 2.4 : 0.12 + 0.05 * Math.sin(n / 3);
  return {
    at, complete: true, accepted: wave, started: wave, completed: Math.max(0, wave - failed - 2), failed, retried: failed * 3, cancelled: 0, redriven: part > 0.74 && part < 0.78 ? 12 : 0,
    failedByClass, retriedByClass: failedByClass, wait: percentiles(wave, slow), handling: percentiles(wave, isOutage ? 1.6 : 0.42), completion: percentiles(wave, slow + 0.4), ready: isOutage ? Math.round((part - 0.55) * 900) : n % 7,
  };
}

function stats(url) {
  const minutes = { '15m': 15, '1h': 60, '6h': 360 }[url.searchParams.get('window')] ?? 60;
  const step = Math.ceil(minutes / 10) * 10;
  const all = Math.floor((minutes * 60) / step);
  const buckets = Array.from({ length: all }, (_, n) => bucket(n, all, ago((all - n) * step * 1_000)));
  const total = (name) => buckets.reduce((sum, each) => sum + each[name], 0);
  const names = ['accepted', 'started', 'completed', 'failed', 'retried', 'cancelled', 'redriven'];
  return {
    from: buckets[0].at, to: ago(0), stepSeconds: step, complete: false, buckets,
    totals: { complete: false, ...Object.fromEntries(names.map((name) => [name, total(name)])), failedByClass: [{ errorClass: 'http_503', count: 66 }, { errorClass: 'timeout', count: 23 }], retriedByClass: [], wait: percentiles(2_000, 0.2), handling: percentiles(2_000, 0.45), completion: percentiles(2_000, 0.8), ready: 3 },
  };
}

const WORKERS = ['packer-1', 'packer-2', 'packer-3', 'label-printer'].map((name, n) => ({
  name, version: '0.1.0', host: `web-${(n % 2) + 1}`, gateway: 'gw3e1a', state: ['connected', 'connected', 'draining', 'lost'][n],
  connectedAt: ago((n + 1) * 47 * MINUTE), lastSeenAt: ago(n === 3 ? 12 * MINUTE : 1_000), slots: n === 3 ? null : 64, inFlight: [12, 3, 1, 0][n], completedPerMinute: [212, 64.5, 3, 0][n], failedPerMinute: [0, 1.5, 0, 0][n], handling: n === 3 ? null : percentiles(400, 0.4),
}));

const GROUPS = [
  ['http_503', 'HTTP 503 from host-*', 412, 97], ['timeout', 'no answer within * s', 131, 60], ['http_422', 'address * cannot be delivered', 89, 88], [null, 'out of stock: *', 32, 30],
].map(([errorClass, reason, count, customers], n) => ({ errorClass, reason, count, customers, firstFailedAt: ago((n + 2) * 40 * MINUTE), lastFailedAt: ago((n + 1) * 3 * MINUTE), latestOrderId: '01890a5d-ac96-774b-bcce-b302099a8057' }));

const HEALTH = { status: 'degraded', reasons: [
  { code: 'failures_rising', severity: 'critical', message: 'http_503 has failed 41 orders in 5 min, 20 times as many as before', since: ago(5 * MINUTE), runbook: '/guide/operate/runbooks.html#failures_rising' },
  { code: 'oldest_waiting', severity: 'warning', message: 'the oldest ready order has waited 38 s', since: ago(MINUTE), runbook: '/guide/operate/runbooks.html#oldest_waiting' },
] };

const SYSTEM = {
  gateways: [{ id: 'gw3e1a', version: '0.1.0', host: 'web-1', startedAt: ago(300 * MINUTE), lastSeenAt: ago(900) }, { id: 'gw77c0', version: '0.1.0', host: 'web-2', startedAt: ago(290 * MINUTE), lastSeenAt: ago(1_500) }],
  database: { version: 'MariaDB 10.11.6', latencySeconds: 0.0006 }, redis: { version: 'Redis 7.0.15', latencySeconds: 0.0002 },
  settings: [{ name: '--http-addr', value: '0.0.0.0:3000', source: 'flag' }, { name: '--database-url', value: 'mysql://orders:***@db/orders', source: 'environment' }, { name: '--visibility-timeout', value: '60s', source: 'default' }],
};

/** What a bulk command still has to do, by path. */
const left = new Map();

function command(path, body) {
  const { dryRun = false, limit = 1_000 } = JSON.parse(body || '{}');
  const all = left.get(path) ?? 634;
  const count = Math.min(all, limit);
  const rest = all - count;
  // A dry run of several pages counts down as well; a finished one begins again.
  left.set(path, rest > 0 ? rest : 634);
  return { count, dryRun, orderIds: [], next: rest > 0 ? '01890a5d-ac96-774b-bcce-b302099a8057' : null, nextStartAt: ago(0) };
}

/** The answer to a request, or null if it is none of these. */
export function answer(method, url, body) {
  const path = url.pathname.replace(/^\//, '');
  if (method === 'GET' || method === 'HEAD') {
    if (path === 'stats') return { body: stats(url) };
    if (path === 'health') return { body: HEALTH };
    if (path === 'system') return { body: SYSTEM };
    if (path === 'workers') return { body: { workers: WORKERS, next: null } };
    if (path.startsWith('workers/')) return { body: { ...WORKERS.find(({ name }) => path.endsWith(name)), orders: [{ orderId: '01890a5d-ac96-774b-bcce-b302099a8057', attempt: 1, startedAt: ago(900), leaseEndsAt: ago(-29_000) }] } };
    if (path === 'dead-letters/groups') return { body: { groups: GROUPS, orders: 664, complete: true } };
    if (path === 'orders/export') return { headers: { 'content-type': 'text/csv', 'content-disposition': 'attachment; filename="orders.csv"' }, body: 'id,status\n' };
  }
  if (method === 'POST' && ['orders/cancel', 'dead-letters/redrive'].includes(path)) return { body: command(path, body) };
  return null;
}

/** Gives a page these answers instead of those of the server; `paths` limits them. */
export const useFixedApi = (page, paths = null) => page.route('**/*', async (route) => {
  const request = route.request();
  const url = new URL(request.url());
  const found = (!paths || paths.some((path) => url.pathname.includes(path))) && answer(request.method(), url, request.postData());
  if (!found) return route.fallback();
  return route.fulfill({ status: 200, headers: found.headers ?? { 'content-type': 'application/json' }, body: typeof found.body === 'string' ? found.body : JSON.stringify(found.body) });
});
