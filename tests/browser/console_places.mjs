// Every view of the console and its open dialogs, and the pages beside it, with data: for the checks that look at all of them.

import { createServer } from 'node:http';
import { useFixedApi } from './console_api.mjs';
import { Server, cancelOrder, completed, createOrder, createScheduled, eventually, stopLater } from './harness.mjs';

const NO_DELAY = ['--simulate-min-delay', '0', '--simulate-max-delay', '1ms'];

const post = async (url, path, body) => {
  const response = await fetch(new URL(path, url), { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return response.json();
};

const statusOf = async (url, id) => (await (await fetch(new URL(`orders/${id}`, url))).json()).status;

/** A receiver of webhooks that answers `status`. */
async function receiver(status) {
  const server = createServer((request, response) => { response.statusCode = status; response.end(status < 300 ? 'ok' : 'the receiver is out of order'); });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  stopLater(() => server.close());
  return `http://127.0.0.1:${server.address().port}/`;
}

/**
 * A server with an order in each state, keys, entries of the audit log and webhook endpoints. Returns the ids of the orders
 * and of endpoints by name, or null if there is no program to start.
 */
export async function furnished() {
  const server = await Server.start('--simulate-failure-rate', '1', ...NO_DELAY);
  if (!server) return null;
  const { url } = server;
  const many = { customer: 'ann.with.a.long.name@department.example.com', externalReference: 'WEB-1001' };
  const lineItems = Array.from({ length: 9 }, (_, n) => ({ item: `Part ${n + 1} of a coffee machine with two circuits`, quantity: n + 1, price: '19.50' }));
  const { id: failed } = await post(url, 'orders', { lineItems, currency: 'EUR', maxAttempts: 1, ...many });
  const retrying = await createOrder('Hand grinder', { url, customer: 'ben@example.com', externalReference: 'WEB-1002' });
  await eventually('the orders have failed', async () => (await statusOf(url, failed)) === 'failed' && (await (await fetch(new URL(`orders/${retrying}`, url))).json()).waitsFor === 'retry');
  const scheduled = await createScheduled('A rather long name of an item that does not fit into one line of a phone', { url, priority: 'HIGH' });
  const cancelled = await createScheduled('Porcelain cup', { url, customer: 'carla@example.com' });
  await cancelOrder(cancelled, url);
  await post(url, 'webhooks', { url: await receiver(200), types: ['order.*'], description: 'The ledger' });
  const { endpoint: { id: hook } } = await post(url, 'webhooks', { url: await receiver(500), types: ['order.*'], description: 'The warehouse, which is out of order' });
  const { endpoint: { id: unreachable } } = await post(url, 'webhooks', { url: 'http://127.0.0.1:65535/', types: ['order.*'] });
  await server.end();
  await server.restart('--simulate-failure-rate', '0', ...NO_DELAY);
  const done = await createOrder('Milk frother', { url, customer: 'david@example.com', externalReference: 'WEB-1005' });
  await completed(done, url);
  await post(url, 'api-keys', { name: 'shop', role: 'writer' });
  const { id: revoked } = await post(url, 'api-keys', { name: 'an earlier client', role: 'reader' });
  await fetch(new URL(`api-keys/${revoked}`, url), { method: 'DELETE' });
  const endpoint = async (id) => (await fetch(new URL(`webhooks/${id}`, url))).json();
  await eventually('the endpoints fail', async () => (await endpoint(unreachable)).state === 'failing' && (await endpoint(hook)).waitingMessages > 0);
  await server.end();
  await server.restart('--simulate-min-delay', '5m', '--simulate-max-delay', '5m');
  const processing = await createOrder('Espresso machine', { url, customer: 'elena@example.com' });
  await eventually('an order is processed', async () => (await statusOf(url, processing)) === 'processing');
  return { server, url, failed, retrying, scheduled, cancelled, done, processing, hook, unreachable };
}

/** Prepares a page for the views whose numbers would depend on time, such as the charts. */
export const prepared = (page) => useFixedApi(page);

const button = (page, name) => page.getByRole('button', { name, exact: true });
const dialog = (page) => page.getByRole('dialog').waitFor();

/** Waits until the view has read everything. */
async function settled(page) {
  await page.locator('h1').first().waitFor({ state: 'attached' });
  await eventually('everything is read', async () => !/Reading |Counting/.test(await page.locator('#app').textContent()));
}

/**
 * The places by name: a path, and what is opened there. `ids` are those of `furnished`. The audit log and the lists are those of
 * the server; the numbers of the charts, the workers and the groups are fixed.
 */
export const places = (ids) => [
  ['overview', 'console'],
  ['overview of 6 hours', 'console?window=6h', (page) => page.getByText('The numbers as a table').click()],
  ['orders', 'console/orders'],
  ['no order found', 'console/orders?q=item%3Anothing'],
  ['a search', 'console/orders?q=since%3A1h+total%3E0', async (page) => { await page.locator('#search').fill('since:1h cus'); await page.locator('#search').focus(); await page.getByRole('option').first().waitFor(); }],
  ['a query with an error', 'console/orders?q=total%3Emany', (page) => page.getByText('needs a number').waitFor()],
  ['the name of a view', 'console/orders?q=item%3Agrinder', (page) => button(page, 'Save view…').click()],
  ['the columns', 'console/orders', (page) => page.getByText('Columns').click()],
  ['the export', 'console/orders', (page) => page.getByText('Export').click()],
  ['selected orders', 'console/orders', (page) => page.getByLabel('Select the page').check()],
  ['a bulk redrive', 'console/orders', async (page) => { await page.getByLabel('Select the page').check(); await button(page, 'Redrive…').click(); await dialog(page); }],
  ['a bulk cancellation', 'console/orders', async (page) => { await page.getByLabel('Select the page').check(); await button(page, 'Cancel…').click(); await dialog(page); }],
  ...['failed', 'scheduled', 'cancelled', 'done', 'processing'].map((name) => [`an order, ${name}`, `console/orders/${ids[name]}`, (page) => page.locator('.order-panel .timeline').waitFor()]),
  ['an order with everything open', `console/orders/${ids.failed}`, async (page) => { await page.getByText('more line items').click(); await page.getByText('Raw JSON').click(); await button(page, 'Redrive order…').click(); }],
  ['an unknown order', 'console/orders/01890a5d-ac96-774b-bcce-b302099a8057', (page) => page.getByText('There is no order').waitFor()],
  ['dead letters', 'console/dead-letters'],
  ['the redrive of a group', 'console/dead-letters', async (page) => { await button(page, 'Redrive…').first().click(); await page.getByText('failed orders match').waitFor(); }],
  ['workers', 'console/workers'],
  ['a worker', 'console/workers/packer-2'],
  ['queue', 'console/queue'],
  ['the pause', 'console/queue', async (page) => { await button(page, 'Pause…').click(); await page.getByLabel('How long').selectOption('at'); }],
  ['events', 'console/events', async (page) => { await eventually('an event', async () => { await createScheduled('Seen in the events', { url: ids.url }); return (await page.locator('.events tbody tr').count()) > 0; }); await button(page, 'Freeze').click(); }],
  ['webhooks', 'console/webhooks'],
  ['the form of a webhook', 'console/webhooks', async (page) => { await page.getByText('Events and options').click(); await page.getByLabel('every event of orders').uncheck(); await button(page, 'Create endpoint').click(); await page.locator('.field .error, .types .error').first().waitFor(); }],
  ['a webhook', `console/webhooks/${ids.hook}`, (page) => page.locator('.sent li').first().waitFor()],
  ['a webhook that fails', `console/webhooks/${ids.unreachable}`, (page) => page.locator('.sent li').first().waitFor()],
  ['a recovery', `console/webhooks/${ids.hook}`, async (page) => { await button(page, 'Recover…').click(); await page.getByLabel('Deliver again').selectOption('time'); }],
  ['the removal of a webhook', `console/webhooks/${ids.hook}`, (page) => button(page, 'Delete…').click()],
  ['keys', 'console/access'],
  ['a new key', 'console/access', async (page) => { await button(page, 'New key…').click(); await dialog(page); }],
  ['a rotation', 'console/access', async (page) => { await button(page, 'Rotate shop').click(); await dialog(page); }],
  ['audit log', 'console/access/audit'],
  ['system', 'console/system'],
  ['help', 'console/orders', async (page) => { await button(page, 'Keyboard shortcuts').click(); await dialog(page); }],
  ['an unknown view', 'console/nothing'],
].map(([name, path, open = () => {}]) => ({ name, path, open: async (page) => { await settled(page); await open(page); await settled(page); } }));

const shown = (selector) => (page) => page.locator(selector).first().waitFor();

/** The pages beside the console. */
export const pages = (ids) => [
  ['page', '', shown('.rows')],
  ['page with an order', `#/orders/${ids.failed}`, shown('.timeline')],
  ['tracking', `track/${ids.done}`, shown('.progress')],
  ['login', 'login', shown('form')],
  ['problems', 'problems', shown('dl')],
  ['reference', 'docs', async (page) => { await shown('.operation')(page); await page.locator('#createOrder').getByText('Try it').click(); await page.locator('#createOrder .part').first().click(); }],
  ['guide', 'guide/', shown('main h1')],
  ['guide, settings', 'guide/reference/settings.html', shown('main h1')],
].map(([name, path, open]) => ({ name, path, open }));
