// The drill of an on-call engineer: ten tasks, each in at most three actions in the console (at 1280 and 360 px), with one
// command, and with one call of the API.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Server, eventually, graphql, visit } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';
const MOST_ACTIONS = 3;
const FAILED = 24;
const run = promisify(execFile);

/** A server with failed orders, of which one is known, and the names that the tasks search for. */
async function outage() {
  const server = await Server.start('--simulate-failure-rate', '1', '--simulate-min-delay', '0', '--simulate-max-delay', '1ms');
  if (!server) return null;
  const { url } = server;
  const create = (n) => graphql(
    'mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { message } } }',
    { input: { item: 'Espresso machine', quantity: 1, price: '249.00', maxAttempts: 1, customer: `customer-${n}@example.com`, externalReference: `WEB-${1_000 + n}` } },
    url,
  );
  const created = await Promise.all(Array.from({ length: FAILED }, (_, n) => create(n)));
  const [{ createOrder: { order: { id } } }] = created;
  await eventually('all orders have failed', async () => (await api(url, 'GET', 'queue')).counts?.failed === FAILED);
  // The handler succeeds again. What was counted is written at the end of the server.
  await server.end();
  await server.restart('--simulate-failure-rate', '0', '--simulate-min-delay', '0', '--simulate-max-delay', '1ms');
  await eventually('the worker is listed', async () => (await api(url, 'GET', 'workers')).workers.some(({ state }) => state === 'connected'));
  const { worker } = await api(url, 'GET', `orders/${id}`);
  assert.ok(worker, 'the failed order names its worker');
  return { server, url, id, worker };
}

async function api(url, method, path, body) {
  const response = await fetch(new URL(path, url), { method, headers: { 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return JSON.parse(text);
}

/** The link to a view. Its badge is a part of its name. */
const view = (page, name) => page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: new RegExp(`^${name}\\b`) });

/** A user of the console: each click, entry and key is an action. */
function user(page, count) {
  return {
    click: (locator) => { count.actions += 1; return locator.click(); },
    enter: (locator, text) => { count.actions += 1; return locator.fill(text); },
    press: (key) => { count.actions += 1; return page.keyboard.press(key); },
    follow: (address) => { count.actions += 1; return page.goto(address); },
  };
}

/** The tasks: what is done in the console, which command does it, and which call. */
const TASKS = {
  async 'find an order by its customer'({ page, act, id }) {
    await act.click(view(page, 'Orders'));
    await act.enter(page.locator('#search'), 'customer-0@');
    await act.press('Enter');
    await page.locator(`#row-${id}`).waitFor();
  },
  async 'open an order by its id'({ page, act, text, id }) {
    await act.click(view(page, 'Orders'));
    await act.enter(page.locator('#search'), id);
    await act.press('Enter');
    await text(id);
    await page.locator('.order-panel .timeline').waitFor();
  },
  async 'see why it has failed'({ page, act, text, console, id }) {
    await act.follow(console(`orders/${id}`));
    await text('simulated', page.locator('.order-panel .why-box'));
  },
  async 'see which worker had it'({ page, act, text, console, id, worker }) {
    await act.follow(console(`orders/${id}`));
    await text(worker, page.locator('.order-panel'));
  },
  async 'list all failed orders by class'({ page, act, text }) {
    await act.click(view(page, 'Dead letters'));
    await text('simulated', page.locator('.group'));
    await text(String(FAILED), page.locator('.group-count'));
  },
  async 'redrive all of a class'({ page, act, url }) {
    await act.click(view(page, 'Dead letters'));
    await act.click(page.locator('.group').getByRole('button', { name: 'Redrive…' }));
    await act.click(page.getByRole('dialog').getByRole('button', { name: `Redrive ${FAILED}` }));
    await eventually('all are completed', async () => (await api(url, 'GET', 'queue')).counts?.completed === FAILED);
  },
  async 'see the depth of the queue and the oldest order'({ page, act, text }) {
    await act.click(view(page, 'Queue'));
    await text('Ready', page.locator('main'));
    await text('Oldest', page.locator('main'));
  },
  async 'see the workers'({ page, act, text }) {
    await act.click(view(page, 'Workers'));
    await text('Connected', page.locator('.workers'));
  },
  async 'see the throughput and the times of the last hour'({ page, text }) {
    await text('Handling', page.locator('.charts'));
    await text('Orders per', page.locator('.charts'));
  },
  async 'pause the queue'({ page, act, url }) {
    await act.click(view(page, 'Queue'));
    await act.click(page.getByRole('button', { name: 'Pause…' }));
    await act.click(page.getByRole('dialog').getByRole('button', { name: /^Pause/ }));
    await eventually('the queue is paused', async () => (await api(url, 'GET', 'queue')).paused);
    await api(url, 'POST', 'queue/resume');
  },
};

async function inBrowser(browser, width) {
  const found = await outage();
  if (!found) return SKIPPED;
  const { url, id, worker } = found;
  const console = (path = '') => new URL(path ? `console/${path}` : 'console', url).href;
  const page = await visit(browser, 'console', { url, viewport: { width, height: 800 } });
  const text = (wanted, within = page.locator('main')) => within.getByText(wanted).first().waitFor();
  const most = {};
  for (const [name, task] of Object.entries(TASKS)) {
    await page.goto(console());
    await page.locator('.tiles').waitFor();
    const count = { actions: 0 };
    await task({ page, act: user(page, count), text, console, url, id, worker }).catch((error) => { throw new Error(`${name}: ${error.message}`); });
    assert.ok(count.actions <= MOST_ACTIONS, `${name} takes ${count.actions} actions`);
    most[name] = count.actions;
  }
  assert.deepEqual(page.trouble, []);
  return `${Object.keys(most).length} of ${Object.keys(TASKS).length}, at most ${Math.max(...Object.values(most))} actions`;
}

export const drill = {
  'the drill in the console at 1280 px': (browser) => inBrowser(browser, 1280),
  'the drill in the console at 360 px': (browser) => inBrowser(browser, 360),

  async 'the drill with one command each'() {
    const found = await outage();
    if (!found) return SKIPPED;
    const { url, id, worker } = found;
    const orders = async (...args) => {
      const { stdout, stderr } = await run(process.env.ORDERS_BIN, [...args, '--url', url.href], { timeout: 60_000 });
      return stdout + stderr;
    };
    const commands = [
      ['find an order by its customer', ['list', '--search', 'customer-0@'], 'WEB-1000'],
      ['open an order by its id', ['get', id], 'WEB-1000'],
      ['see why it has failed', ['get', id, '--events'], 'simulated'],
      ['see which worker had it', ['get', id], worker],
      ['list all failed orders by class', ['dead-letters', 'groups'], 'simulated'],
      ['see the workers', ['workers'], 'connected'],
      ['see the depth of the queue and the oldest order', ['queue', 'status'], 'oldest'],
      ['see the throughput and the times of the last hour', ['stats', '--since', '1h'], 'p95'],
      ['redrive all of a class', ['dead-letters', 'redrive', '--error-class', 'simulated', '--rate', '100/s', '--wait'], String(FAILED)],
      ['pause the queue', ['queue', 'pause', '--for', '15m'], 'paused'],
    ];
    assert.deepEqual(commands.map(([name]) => name).sort(), Object.keys(TASKS).sort());
    for (const [name, args, wanted] of commands) {
      const output = await orders(...args).catch((error) => assert.fail(`${name}: ${error.message}`));
      assert.ok(output.toLowerCase().includes(wanted.toLowerCase()), `${name}: no ${wanted} in ${output}`);
    }
    return `${commands.length} of ${commands.length}`;
  },

  async 'the drill with one call each'() {
    const found = await outage();
    if (!found) return SKIPPED;
    const { url, id, worker } = found;
    const calls = [
      ['find an order by its customer', 'GET', 'orders?search=customer-0%40', null, ([order]) => order.id === id],
      ['open an order by its id', 'GET', `orders/${id}`, null, (order) => order.externalReference === 'WEB-1000'],
      ['see why it has failed', 'GET', `orders/${id}`, null, (order) => order.errorClass === 'simulated' && order.reason],
      ['see which worker had it', 'GET', `orders/${id}`, null, (order) => order.worker === worker],
      ['list all failed orders by class', 'GET', 'dead-letters/groups', null, ({ groups }) => groups[0].count === FAILED && groups[0].errorClass === 'simulated'],
      ['see the workers', 'GET', 'workers', null, ({ workers }) => workers[0].state === 'connected'],
      ['see the depth of the queue and the oldest order', 'GET', 'queue', null, (queue) => queue.length === 0 && queue.oldestReadySeconds !== undefined],
      ['see the throughput and the times of the last hour', 'GET', 'stats?window=1h', null, ({ totals, buckets }) => totals.failed === FAILED && totals.handling.p95Seconds > 0 && buckets.length === 60],
      ['redrive all of a class', 'POST', 'dead-letters/redrive', { filter: { errorClass: 'simulated' }, ratePerSecond: 100 }, ({ count }) => count === FAILED],
      ['pause the queue', 'POST', 'queue/pause', { until: new Date(Date.now() + 900_000).toISOString(), requestedBy: 'ann' }, ({ paused }) => paused],
    ];
    assert.deepEqual(calls.map(([name]) => name).sort(), Object.keys(TASKS).sort());
    for (const [name, method, path, body, holds] of calls) {
      const answer = await api(url, method, path, body);
      assert.ok(holds(answer), `${name}: ${JSON.stringify(answer).slice(0, 400)}`);
    }
    return `${calls.length} of ${calls.length}`;
  },
};
