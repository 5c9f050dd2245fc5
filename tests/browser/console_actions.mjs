// The links, keys and forms of the console that no other check uses, so that every action is covered.

import assert from 'node:assert/strict';
import { useFixedApi } from './console_api.mjs';
import { furnished } from './console_places.mjs';
import { Line, Server, createOrder, createScheduled, eventually, isLive, said, visit, withKeys } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';

const button = (page, name) => page.getByRole('button', { name, exact: true });
const link = (page, name) => page.getByRole('link', { name, exact: true });
const view = (page, name) => page.locator('.side').getByRole('link', { name });
const queryOf = (page) => new URL(page.url()).searchParams.get('q');
const trouble = (page) => page.trouble.filter((line) => !/status of 4\d\d/.test(line));
const gone = (locator) => locator.waitFor({ state: 'detached' });

/** Follows a link and checks where it leads. */
async function leads(page, locator, path, q = null) {
  await locator.click();
  await eventually(`${path} is open`, () => new URL(page.url()).pathname.endsWith(path) && queryOf(page) === q);
  await page.goBack();
}

export const consoleActions = {
  async 'actions: the numbers of the overview and of the queue lead to their orders'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console', { url });
    await page.locator('.chart').first().waitFor();
    for (const [name, path, q] of [['Ready', '/orders', 'waits:worker'], ['Pending', '/orders', 'status:pending'], ['Processing', '/orders', 'status:processing'], ['Failed', '/dead-letters', null], ['Workers', '/workers', null]]) {
      await leads(page, page.locator('.tiles').getByRole('link', { name: new RegExp(`^${name}`) }), `/console${path}`, q);
    }
    await link(page, '15 min').click();
    await page.waitForURL(/window=15m/);
    await link(page, '1 h').click();
    await eventually('the default is not in the address', () => !page.url().includes('window'));
    await page.goto(new URL('console/queue', url).href);
    const facts = page.locator('.facts-list');
    await facts.waitFor();
    for (const [name, q] of [['Ready', 'waits:worker'], ['Pending', 'status:pending'], ['Processing', 'status:processing'], ['Retrying', 'waits:retry'], ['Scheduled', 'waits:schedule']]) {
      await leads(page, facts.locator('div', { has: page.getByText(name, { exact: true }) }).getByRole('link'), '/console/orders', q);
    }
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: a lost connection can be tried again at once'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, 'console/orders', { url: line.url });
    await isLive(page);
    await line.cut();
    await page.getByText('Connection lost – trying again.').waitFor();
    await button(page, 'Try now').waitFor();
    await line.restore();
    // It may be open again before the click.
    await button(page, 'Try now').click({ timeout: 2_000 }).catch(() => {});
    await isLive(page);
    await gone(page.getByText('Connection lost – trying again.'));
    return undefined;
  },

  async 'actions: the search field completes with Tab, and Escape leaves it'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console/orders', { url: server.url });
    await isLive(page);
    const field = page.locator('#search');
    const value = (text) => eventually(`the field has ${text}`, async () => (await field.inputValue()) === text);
    await page.keyboard.press('/');
    await page.keyboard.type('curr');
    await page.getByRole('option').first().waitFor();
    await page.keyboard.press('Tab');
    await value('currency:');
    await field.fill('waits:');
    await eventually('four values', async () => (await page.getByRole('option').count()) === 4);
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Tab');
    await value('waits:pause ');
    await field.fill('st');
    await page.getByRole('option').first().waitFor();
    await page.keyboard.press('Escape');
    await eventually('the offers are closed', async () => (await page.getByRole('option').count()) === 0);
    await value('st');
    await page.keyboard.press('Escape');
    await value('');
    assert.notEqual(await page.evaluate(() => document.activeElement.id), 'search');
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: the views of orders, their names and the sorting'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    await createScheduled('Cheap', { url, price: '1.00' });
    await createScheduled('Dear', { url, price: '900.00' });
    const page = await visit(browser, 'console/orders', { url });
    await isLive(page);
    for (const [name, q] of [['Waiting', 'status:pending'], ['Retrying', 'waits:retry'], ['Scheduled', 'waits:schedule'], ['Cancelled', 'status:cancelled'], ['All', null]]) {
      await page.getByRole('navigation', { name: 'Saved views' }).getByRole('link', { name, exact: true }).click();
      await eventually(`the view ${name}`, () => queryOf(page) === q);
    }
    await link(page, 'Total').click();
    const first = page.locator('.orders tbody tr').first().locator('.c-order');
    await eventually('the most expensive is first', async () => /^Dear/.test(await first.textContent()));
    assert.equal(await page.locator('th.c-total').getAttribute('aria-sort'), 'descending');
    await page.getByRole('link', { name: /^Total/ }).click();
    await eventually('the cheapest is first', async () => /^Cheap/.test(await first.textContent()));
    await page.goto(new URL('console/orders?q=item%3Anothing', url).href);
    await link(page, 'Show all orders').click();
    await eventually('all orders', () => queryOf(page) === null);
    await page.goto(new URL('console/orders?q=item%3ACheap', url).href);
    await button(page, 'Save view…').click();
    await page.getByLabel('Name of the view').press('Escape');
    await button(page, 'Save view…').click();
    await page.getByLabel('Name of the view').fill('Failed');
    await page.getByLabel('Name of the view').press('Enter');
    await said(page, 'Choose another name for the view.');
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: rows are selected, cleared and opened'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const ids = await Promise.all(['One', 'Two'].map((item) => createScheduled(item, { url, customer: 'ann@example.com' })));
    const page = await visit(browser, 'console/orders', { url });
    await page.locator(`#row-${ids[1]}`).waitFor();
    await page.getByLabel('Select the page').check();
    await page.getByText('2 selected').waitFor();
    await button(page, 'Clear').click();
    await gone(page.getByText('2 selected'));
    await page.getByLabel('Select the page').check();
    await page.getByLabel('Select the page').uncheck();
    await gone(page.getByText('2 selected'));
    // A click beside the link opens the row as well.
    await page.locator(`#row-${ids[0]} .c-total`).click();
    const panel = page.getByRole('complementary', { name: 'Order' });
    await panel.getByText('Waits for its time').waitFor();
    await button(page, 'Cancel order…').click();
    await button(page, 'Keep it').click();
    await button(page, 'Cancel order…').waitFor();
    await link(page, 'Close the order').click();
    await gone(panel);
    await page.goto(new URL(`console/orders/${ids[0]}`, url).href);
    await link(page, 'Orders of this customer').click();
    await eventually('the orders of the customer', () => queryOf(page) === 'customer:ann@example.com');
    await eventually('both are listed', async () => (await page.locator('.orders tbody tr').count()) === 2);
    await page.goto(new URL(`console/orders/${ids[0]}`, url).href);
    await link(page, 'Tracking page').click();
    await page.waitForURL(new RegExp(`/track/${ids[0]}`));
    await page.locator('h1', { hasText: 'Your order' }).waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: with keys, the tracking page of an order gets a link'(browser) {
    const { server, key } = await withKeys();
    if (!server) return SKIPPED;
    const { url } = server;
    const response = await fetch(new URL('orders', url), { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` }, body: JSON.stringify({ item: 'Tea', quantity: 1, price: 1, processAfter: '2099-01-01T00:00:00Z' }) });
    const { id } = await response.json();
    const page = await visit(browser, `login?next=/console/orders/${id}`, { url });
    await page.getByLabel('API key').fill(key);
    await button(page, 'Sign in').click();
    await link(page, 'Tracking page').click();
    await page.waitForURL(new RegExp(`/track/${id}`));
    await page.locator('h1', { hasText: 'Your order' }).waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: the links of failed orders, groups and workers'(browser) {
    const ids = await furnished();
    if (!ids) return SKIPPED;
    const { url, failed } = ids;
    const page = await visit(browser, `console/orders/${failed}`, { url });
    await link(page, 'Orders with this error').click();
    await eventually('the orders with the error', () => queryOf(page) === 'class:simulated');
    await page.goto(new URL(`console/orders/${failed}`, url).href);
    await page.getByText('Failed after 1 attempt.').waitFor();
    await page.keyboard.press('r');
    await page.getByRole('heading', { name: 'Redrive 1 order' }).waitFor();
    await button(page, 'Leave them').click();
    await button(page, 'Redrive order…').click();
    await button(page, 'Leave it').click();
    await page.goto(new URL('console/dead-letters', url).href);
    await link(page, 'Latest').click();
    await page.waitForURL(new RegExp(`/console/orders/${failed}`));
    await page.goBack();
    await link(page, 'As a list').click();
    await eventually('all failed orders', () => queryOf(page) === 'status:failed');
    await view(page, 'Workers').click();
    await page.locator('.workers tbody a').first().click();
    const panel = page.getByRole('complementary', { name: 'Worker' });
    await panel.locator('.in-flight a').first().click();
    await page.waitForURL(new RegExp(`/console/orders/${ids.processing}`));
    await page.goBack();
    await link(page, 'Orders of this worker').click();
    await eventually('the orders of the worker', () => /^worker:/.test(queryOf(page)));
    await page.locator(`#row-${ids.processing}`).waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: the queue is paused until a time, or not at all'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/queue', { url });
    await button(page, 'Pause…').click();
    await button(page, 'Keep it running').click();
    await gone(page.getByRole('dialog'));
    await button(page, 'Pause…').click();
    await button(page, 'Close').click();
    await gone(page.getByRole('dialog'));
    await button(page, 'Pause…').click();
    await page.getByLabel('How long').selectOption('at');
    const until = new Date(Date.now() + 3 * 3_600_000);
    until.setSeconds(0, 0);
    const local = new Date(until.getTime() - until.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    await page.getByLabel('Until').fill(local);
    await button(page, 'Pause').click();
    await said(page, 'Processing is paused until');
    const { pausedUntil } = await (await fetch(new URL('queue', url))).json();
    assert.equal(new Date(pausedUntil).getTime(), until.getTime());
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: the keys and links of the events'(browser) {
    const server = await Server.start('--simulate-failure-rate', '1', '--simulate-min-delay', '0', '--simulate-max-delay', '1ms');
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/events', { url });
    await isLive(page);
    const lines = page.locator('.events tbody tr');
    await eventually('an event', async () => { await createOrder('Seen', { url, maxAttempts: 1 }); return (await lines.count()) > 0; });
    for (const status of ['pending', 'processing', 'failed']) {
      await button(page, status).click();
      await eventually(`only ${status}`, async () => { const pills = await lines.locator('.pill').allTextContents(); return pills.length > 0 && pills.every((text) => text.toLowerCase() === status); });
      await button(page, status).click();
    }
    for (const status of ['completed', 'cancelled']) {
      await button(page, status).click();
      await page.getByText('No event matches the filter.').waitFor();
      await button(page, status).click();
    }
    await page.keyboard.press('f');
    await page.getByRole('button', { name: /^Continue/ }).waitFor();
    await page.keyboard.press('f');
    await button(page, 'Freeze').waitFor();
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Filter events');
    await lines.first().getByRole('link').click();
    await page.waitForURL(/\/console\/orders\/[0-9a-f-]{36}/);
    await page.getByRole('complementary', { name: 'Order' }).locator('.timeline').waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: keys are copied, and the audit log has older entries'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/access', { url, permissions: ['clipboard-read', 'clipboard-write'] });
    await button(page, 'New key…').click();
    await button(page, 'Leave it').click();
    await button(page, 'New key…').click();
    await page.getByLabel('Name').fill('copied');
    await page.getByLabel('Lifetime in days').fill('7');
    await button(page, 'Create key').click();
    const key = await page.getByLabel('API key', { exact: true }).inputValue();
    await button(page, 'Copy').click();
    await eventually('the key is copied', async () => (await page.evaluate(() => navigator.clipboard.readText())) === key);
    await button(page, 'Close').click();
    await gone(page.getByRole('dialog'));
    const expiry = (await (await fetch(new URL('api-keys', url))).json()).find(({ name }) => name === 'copied').expiresAt;
    assert.equal(Math.round((new Date(expiry) - Date.now()) / 86_400_000), 7);
    assert.match(await link(page, 'How access works').getAttribute('href'), /\/guide\/operate\/access\.html$/);
    for (let n = 0; n < 51; n += 1) for (const action of ['pause', 'resume']) await fetch(new URL(`queue/${action}`, url), { method: 'POST' });
    await link(page, 'Audit log').click();
    await page.getByText('100 entries').waitFor();
    await button(page, 'Older').click();
    await eventually('all entries', async () => (await page.locator('tbody tr').count()) === 103);
    await link(page, 'API keys').click();
    await page.getByRole('cell', { name: 'copied', exact: true }).waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: the dialogs close with their button, with Escape and beside them'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console/queue', { url: server.url });
    const help = page.getByRole('dialog');
    const close = [() => button(page, 'Close').click(), () => page.keyboard.press('Escape'), () => page.mouse.click(5, 400)];
    for (const act of close) {
      await button(page, 'Keyboard shortcuts').click();
      await help.waitFor();
      await act();
      await gone(help);
      assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Keyboard shortcuts', 'the focus returns');
    }
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: the system links to readiness and metrics'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/system', { url, prepare: (blank) => useFixedApi(blank, ['/system']) });
    for (const [name, path] of [['Readiness', '/readyz'], ['Metrics', '/metrics']]) {
      const address = new URL(await link(page, name).getAttribute('href'), url);
      assert.equal(address.pathname, path);
      assert.equal((await fetch(address)).status, 200, name);
    }
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'actions: a webhook endpoint is closed, and older attempts are read'(browser) {
    const ids = await furnished();
    if (!ids) return SKIPPED;
    const { url, hook } = ids;
    for (let n = 0; n < 52; n += 1) await fetch(new URL(`webhooks/${hook}/test`, url), { method: 'POST' });
    const page = await visit(browser, `console/webhooks/${hook}`, { url });
    const sent = page.locator('[aria-labelledby=attempts-title] li');
    await eventually('a page of attempts', async () => (await sent.count()) === 50);
    await button(page, 'Show older attempts').click();
    await eventually('older attempts', async () => (await sent.count()) > 50);
    await button(page, 'Rotate secret…').click();
    await button(page, 'Leave it').click();
    await button(page, 'Recover…').click();
    await button(page, 'Back').click();
    await button(page, 'Delete…').click();
    await page.keyboard.press('Escape');
    await button(page, 'Delete…').waitFor();
    await page.keyboard.press('Escape');
    await page.waitForURL(/\/console\/webhooks$/);
    await page.locator(`#hook-${ids.unreachable}`).click();
    await button(page, 'Send now').click();
    await said(page, 'The endpoint is');
    await link(page, 'Close the endpoint').click();
    await page.waitForURL(/\/console\/webhooks$/);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },
};
