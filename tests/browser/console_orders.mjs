// The orders of the console: search, views, live rows, selection, bulk commands, and the open order.

import assert from 'node:assert/strict';
import { useFixedApi } from './console_api.mjs';
import { Server, cancelOrder, completed, createOrder, createScheduled, eventually, isLive, said, visit } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';

const button = (page, name) => page.getByRole('button', { name, exact: true });
const rowOf = (page, id) => page.locator(`#row-${id}`);
const rows = (page) => page.locator('.orders tbody tr');
const queryOf = (page) => new URL(page.url()).searchParams.get('q');
const statusOf = (page, id) => rowOf(page, id).locator('.pill').textContent();

/** Errors that the browser itself prints for refusals, which the checks cause. */
const trouble = (page) => page.trouble.filter((line) => !/status of 4\d\d/.test(line));

/** Opens the orders of the console, live. */
async function openOrders(browser, url, query = '', options = {}) {
  const page = await visit(browser, `console/orders${query}`, { url, ...options });
  await isLive(page);
  return page;
}

/** Starts a server whose orders all fail at their first attempt. */
const failing = () => Server.start('--simulate-failure-rate', '1', '--simulate-min-delay', '0', '--simulate-max-delay', '1ms');

const createFailed = async (item, url, more = {}) => {
  const id = await createOrder(item, { url, maxAttempts: 1, ...more });
  await eventually(`${item} has failed`, async () => (await (await fetch(new URL(`orders/${id}`, url))).json()).status === 'failed');
  return id;
};

export const consoleOrders = {
  async 'console: orders are searched with qualifiers, and the query is the address'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const lamp = await createScheduled('Desk lamp', { url, customer: 'ann@example.com' });
    const mug = await createScheduled('Mug', { url, price: '250.00' });
    const page = await openOrders(browser, url);
    await rowOf(page, lamp).waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('item:lamp');
    await page.keyboard.press('Enter');
    await rowOf(page, mug).waitFor({ state: 'detached' });
    await rowOf(page, lamp).waitFor();
    assert.equal(queryOf(page), 'item:lamp');
    await page.fill('#search', 'total>100 since:1h');
    await button(page, 'Search').click();
    await rowOf(page, mug).waitFor();
    await rowOf(page, lamp).waitFor({ state: 'detached' });
    await page.goBack();
    await rowOf(page, lamp).waitFor();
    assert.equal(await page.inputValue('#search'), 'item:lamp');
    await page.getByRole('link', { name: 'Remove item:lamp' }).click();
    await rowOf(page, mug).waitFor();
    assert.equal(queryOf(page), null);
    await page.fill('#search', 'total>many');
    await page.keyboard.press('Enter');
    await page.getByText('total>many needs a number').waitFor();
    await page.fill('#search', 'status:lost');
    await page.keyboard.press('Enter');
    await page.getByText('Status: is one of pending').waitFor();
    const detail = 'is not known here; known are limit, sort';
    const body = JSON.stringify({ status: 400, code: 'invalid_input', detail: `customerPrefix ${detail}`, errors: [{ parameter: 'customerPrefix', detail }] });
    await page.route(/customerPrefix/, (route) => route.fulfill({ status: 400, contentType: 'application/problem+json', body }));
    await page.fill('#search', 'customer:ann');
    await page.keyboard.press('Enter');
    await page.getByText('This server cannot search by customer:').waitFor();
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: the search field completes qualifiers and their values'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await openOrders(browser, server.url);
    await page.focus('#search');
    await page.keyboard.type('sta');
    const offers = page.getByRole('option');
    await eventually('one qualifier is offered', async () => (await offers.count()) === 1);
    await page.keyboard.press('ArrowDown');
    await eventually('it is chosen', async () => (await page.getAttribute('#search', 'aria-activedescendant')) === 'offer-0');
    await page.keyboard.press('Enter');
    await eventually('the values are offered', async () => (await offers.count()) === 5);
    await offers.filter({ hasText: 'status:failed' }).click();
    await eventually('the value is taken', async () => (await page.inputValue('#search')) === 'status:failed ');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=status%3Afailed/);
    await page.getByText('No order matches.').waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: own views are saved in the browser'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await openOrders(browser, server.url, '?q=total%3E100');
    await button(page, 'Save view…').click();
    await page.getByLabel('Name of the view').fill('Expensive');
    await page.keyboard.press('Enter');
    await said(page, 'The view Expensive is saved');
    await page.getByRole('link', { name: 'Failed', exact: true }).click();
    await page.waitForURL(/q=status%3Afailed/);
    await page.reload();
    await page.getByRole('link', { name: 'Expensive' }).click();
    await page.waitForURL(/q=total%3E100/);
    await button(page, 'Remove the view Expensive').click();
    await page.getByRole('link', { name: 'Expensive' }).waitFor({ state: 'detached' });
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: rows change in place, and new orders wait for the user'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const first = await createScheduled('Known', { url });
    const page = await openOrders(browser, url);
    await rowOf(page, first).waitFor();
    const second = await createScheduled('New', { url });
    const fresh = page.locator('.fresh');
    await fresh.waitFor();
    assert.equal(await fresh.textContent(), '1 new');
    assert.equal(await rowOf(page, second).count(), 0);
    await cancelOrder(first, url);
    await eventually('the row is cancelled', async () => (await statusOf(page, first)) === 'Cancelled');
    await fresh.click();
    await rowOf(page, second).waitFor();
    assert.equal(await fresh.count(), 0);
    const heights = await rows(page).evaluateAll((all) => all.map((row) => row.getBoundingClientRect().height));
    assert.ok(heights.every((height) => height <= 33), heights.join());
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: orders have pages, which the address keeps'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const body = JSON.stringify(Array.from({ length: 130 }, (_, n) => ({ item: `Item ${n}`, quantity: 1, price: 1, processAfter: '2099-01-01T00:00:00Z' })));
    await fetch(new URL('orders/bulk', url), { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const page = await openOrders(browser, url);
    await eventually('a full page', async () => (await rows(page).count()) === 100);
    await page.getByRole('link', { name: 'Older' }).click();
    await eventually('the rest', async () => (await rows(page).count()) === 30);
    const second = page.url();
    await page.getByRole('link', { name: 'Newer' }).click();
    await eventually('the first page', async () => (await rows(page).count()) === 100);
    await page.goto(second);
    await eventually('the rest', async () => (await rows(page).count()) === 30);
    await page.goto(new URL('console/orders', url).href);
    await page.getByRole('link', { name: 'Created' }).click();
    await eventually('the oldest is first', async () => /^Item 0/.test(await page.locator('.orders tbody .c-order').first().textContent()));
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: selected orders are cancelled with a reason'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const ids = await Promise.all(['One', 'Two', 'Three'].map((item) => createScheduled(item, { url })));
    const page = await openOrders(browser, url);
    await rowOf(page, ids[0]).waitFor();
    for (const id of ids.slice(0, 2)) await rowOf(page, id).getByRole('checkbox').check();
    await page.getByText('2 selected').waitFor();
    assert.equal(await button(page, 'Redrive…').count(), 0);
    await button(page, 'Cancel…').click();
    await page.getByRole('heading', { name: 'Cancel 2 orders' }).waitFor();
    await button(page, 'Leave them').click();
    await button(page, 'Cancel…').click();
    await page.getByLabel('Why are they cancelled?').fill('out of stock');
    await button(page, 'Cancel 2').click();
    await page.getByText('2 of 2 cancelled').waitFor();
    await button(page, 'Close').last().click();
    await eventually('they are cancelled', async () => (await Promise.all(ids.map((id) => statusOf(page, id)))).join() === 'Cancelled,Cancelled,Pending');
    const order = await (await fetch(new URL(`orders/${ids[0]}`, url))).json();
    assert.equal(order.reason, 'out of stock');
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: all matching orders are redriven, with their number first'(browser) {
    const server = await failing();
    if (!server) return SKIPPED;
    const { url } = server;
    const ids = await Promise.all(Array.from({ length: 3 }, (_, n) => createFailed(`Broken ${n}`, url)));
    const page = await openOrders(browser, url, '?q=status%3Afailed');
    await rowOf(page, ids[0]).waitFor();
    await page.getByLabel('Select the page').check();
    await button(page, 'Redrive…').click();
    await page.getByRole('heading', { name: 'Redrive 3 orders' }).waitFor();
    await page.getByLabel('Why are they tried again?').fill('the carrier is back');
    await button(page, 'Redrive 3').click();
    await page.getByText('3 of 3 redriven').waitFor();
    await button(page, 'Close').last().click();
    const events = await (await fetch(new URL(`orders/${ids[0]}/events`, url))).json();
    assert.ok(events.some(({ reason }) => /the carrier is back/.test(reason ?? '')), JSON.stringify(events));
    await page.goto(new URL('console/dead-letters', url).href);
    await button(page, 'Redrive all…').click();
    await page.getByText(/failed orders match/).waitFor();
    await page.getByLabel('Starts per second').fill('50');
    await page.getByRole('button', { name: /^Redrive \d/ }).click();
    await page.getByText(/\d of \d redriven/).waitFor();
    await button(page, 'Close').last().click();
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: a bulk command shows its progress and can be stopped'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    await createScheduled('Waiting', { url });
    let release;
    const held = new Promise((resolve) => { release = resolve; });
    const prepare = async (blank) => {
      await useFixedApi(blank, ['/orders/cancel']);
      await blank.route('**/orders/cancel', async (route) => {
        if (!route.request().postDataJSON().dryRun && route.request().postDataJSON().after) await held;
        return route.fallback();
      });
    };
    const page = await openOrders(browser, url, '?q=status%3Apending', { prepare });
    await rows(page).first().waitFor();
    // One page has no further one to select, so the check asks for it as a longer list would.
    await page.evaluate(async () => {
      const main = document.querySelector('script[type=module]').src;
      const { list } = await import(new URL('orders.js', main));
      const { select } = await import(new URL('orders.js', main));
      list.next = 'more';
      select(list.rows[0], true);
    });
    await button(page, 'Select all matching').click();
    await page.getByText('All matching orders').waitFor();
    await button(page, 'Cancel…').click();
    await page.getByRole('heading', { name: 'Cancel 634 orders' }).waitFor();
    await button(page, 'Cancel 634').click();
    await page.getByText('200 of 634 cancelled').waitFor();
    await button(page, 'Stop').click();
    release();
    await page.getByText('400 of 634 cancelled, stopped').waitFor();
    await button(page, 'Close').last().click();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: an order shows why it waits or failed, and its actions'(browser) {
    const server = await failing();
    if (!server) return SKIPPED;
    const { url } = server;
    const lineItems = Array.from({ length: 9 }, (_, n) => ({ item: `Part ${n}`, quantity: 1, price: '1.00' }));
    const response = await fetch(new URL('orders', url), { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ lineItems, customer: 'ann@example.com', maxAttempts: 1 }) });
    const { id } = await response.json();
    const page = await visit(browser, `console/orders/${id}`, { url, permissions: ['clipboard-read', 'clipboard-write'] });
    const panel = page.getByRole('complementary', { name: 'Order' });
    await panel.getByText('Failed after 1 attempt.').waitFor();
    await panel.getByText('4 more line items').click();
    await panel.getByText('1 × Part 8').waitFor();
    await button(page, 'Id').click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), id);
    await button(page, 'Link').click();
    await eventually('the link is copied', async () => (await page.evaluate(() => navigator.clipboard.readText())) === page.url());
    await button(page, 'curl').click();
    await eventually('the command is copied', async () => /^curl '.*\/orders\//.test(await page.evaluate(() => navigator.clipboard.readText())));
    await panel.getByText('Raw JSON').click();
    assert.match(await panel.locator('.raw pre').textContent(), /"externalReference": null/);
    await button(page, 'Redrive order…').click();
    await page.getByLabel('Why is it tried again?').fill('again');
    await page.keyboard.press('Enter');
    await said(page, 'The order is tried again.');
    await eventually('the redrive is in the timeline', async () => /again/.test(await panel.locator('.timeline').textContent()));
    const scheduled = await createScheduled('Later', { url });
    await page.goto(new URL(`console/orders/${scheduled}`, url).href);
    await panel.getByText(/Waits for its time, next attempt in/).waitFor();
    await button(page, 'Cancel order…').click();
    // Until the form is shown, Escape closes the order.
    await page.locator('#reason:focus').waitFor();
    await page.keyboard.press('Escape');
    await button(page, 'Cancel order…').click();
    await page.getByLabel('Why is it cancelled?').fill('a mistake');
    await page.keyboard.press('Enter');
    await said(page, 'The order is cancelled.');
    await panel.locator('.why-box', { hasText: 'a mistake' }).waitFor();
    await page.goto(new URL('console/orders/01890a5d-ac96-774b-bcce-b302099a8057', url).href);
    await page.getByText('There is no order with the id').waitFor();
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: the orders of a query are exported, or the refusal is shown'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await openOrders(browser, url, '?q=item%3Alamp', { prepare: (blank) => useFixedApi(blank, ['/orders/export']) });
    await page.getByText('Export').click();
    const asked = page.waitForRequest((request) => /orders\/export/.test(request.url()) && request.method() === 'GET');
    const saved = page.waitForEvent('download');
    await page.getByRole('link', { name: 'CSV', exact: true }).click();
    assert.deepEqual([...new URL((await asked).url()).searchParams], [['format', 'csv'], ['itemContains', 'lamp']]);
    assert.equal((await saved).suggestedFilename(), 'orders.csv');
    await page.route('**/orders/export**', (route) => route.fulfill({ status: 400 }));
    await page.getByText('Export').click();
    await page.getByRole('link', { name: 'NDJSON' }).click();
    await said(page, 'This server cannot export these orders (400).');
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: the keyboard reaches every action'(browser) {
    const server = await failing();
    if (!server) return SKIPPED;
    const { url } = server;
    const old = await createFailed('Old', url);
    const young = await createFailed('Young', url);
    const page = await openOrders(browser, url);
    await rowOf(page, old).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    await page.locator(`#row-${young}.is-here`).waitFor();
    await page.keyboard.press('x');
    await page.getByText('1 selected').waitFor();
    await page.keyboard.press('r');
    await page.getByRole('heading', { name: 'Redrive 1 order' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('Escape');
    await page.getByText('1 selected').waitFor({ state: 'detached' });
    await page.keyboard.press('Enter');
    await page.waitForURL(new RegExp(`console/orders/${young}`));
    await page.keyboard.press('j');
    await page.waitForURL(new RegExp(`console/orders/${old}`));
    await page.keyboard.press('Escape');
    await page.waitForURL(/console\/orders$/);
    await page.keyboard.press('?');
    await page.getByRole('heading', { name: 'Keyboard', exact: true }).waitFor();
    await page.keyboard.press('Escape');
    for (const [key, path] of [['d', 'dead-letters'], ['w', 'workers'], ['q', 'queue'], ['e', 'events'], ['b', 'webhooks'], ['k', 'access'], ['s', 'system'], ['o', 'orders'], ['h', '']]) {
      await page.keyboard.press('g');
      await page.keyboard.press(key);
      await eventually(`g ${key} opens /console/${path}`, () => new URL(page.url()).pathname === (path ? `/console/${path}` : '/console'));
    }
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: a list reads one page, whatever its length'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    await completed(await createOrder('Done', { url }), url);
    const page = await openOrders(browser, url, '?q=status%3Acompleted');
    await eventually('its row', async () => (await rows(page).count()) === 1);
    // The number of rows never exceeds a page, whatever the list has.
    const limits = await page.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => new URL(name)).filter(({ pathname }) => pathname === '/orders').map(({ searchParams }) => searchParams.get('limit')));
    assert.deepEqual([...new Set(limits)], ['100']);
    return undefined;
  },
};
