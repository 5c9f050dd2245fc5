// The page at `/` with a connection.

import assert from 'node:assert/strict';
import {
  Server, base, cancelOrder, completed, createOrder, createScheduled, eventually, fits, isLive, row, said, statusOf, steps, visit,
} from './harness.mjs';

const LONG = 'Extraordinarily'.repeat(13);

async function fill(page, values) {
  for (const [name, value] of Object.entries(values)) await page.fill(`#${name}`, value);
}

/** Creates an order with the form, where it opens beside the list; returns its id. */
async function create(page, values) {
  await fill(page, values);
  await page.click('text=Create order');
  await page.waitForURL(/#\/orders\/.+/);
  return page.url().split('/').at(-1);
}

/** Relative luminance of a computed colour, from 0 (black) to 1. */
const luminance = (page, selector, property) => page.$eval(selector, (element, name) => {
  const [r, g, b] = getComputedStyle(element)[name].match(/[\d.]+/g).map((part) => {
    const c = part / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}, property);

export const orders = {
  async 'an order is created and its changes are shown live'(browser) {
    const page = await visit(browser);
    await isLive(page);
    const id = await create(page, { item: 'Laptop', quantity: '2', price: '1299.99', customer: 'Ada Lovelace' });
    await said(page, 'Laptop');
    assert.match(await row(page, id).textContent(), /2 × Laptop.*Ada Lovelace.*\$2,599\.98/);
    await eventually('the row is completed', async () => (await statusOf(page, id)) === 'Completed');
    await eventually('the timeline is complete', async () => (await steps(page)).at(-1) === 'Completed');
    assert.deepEqual((await steps(page)).slice(0, 2), ['Pending', 'Processing']);
    assert.match(await page.locator('.timeline li').nth(1).textContent(), /Processing \d.*Attempt 1 started/);
    assert.equal(await row(page, id).getAttribute('aria-current'), 'true');
    assert.ok(await page.locator('.rows li', { has: row(page, id) }).getAttribute('data-lit'), 'the row lit up');
    assert.deepEqual(page.trouble, []);
  },

  async 'orders of other clients appear and change live'(browser) {
    const page = await visit(browser);
    await isLive(page);
    const id = await createOrder('From elsewhere');
    await row(page, id).waitFor();
    await eventually('the row is completed', async () => (await statusOf(page, id)) === 'Completed');
    assert.deepEqual(page.trouble, []);
  },

  async 'errors of the server are shown beside the fields'(browser) {
    const page = await visit(browser);
    await isLive(page);
    await fill(page, { item: ' ', quantity: '0', price: '1.005' });
    await page.click('text=Create order');
    for (const name of ['item', 'quantity', 'price']) {
      const error = await page.locator(`#${name}-error`).textContent();
      assert.match(error, new RegExp(`^${name} `, 'i'));
      assert.equal(await page.getAttribute(`#${name}`, 'aria-invalid'), 'true');
      assert.equal(await page.getAttribute(`#${name}`, 'aria-describedby'), `${name}-error`);
    }
    assert.equal(await page.evaluate(() => document.activeElement.id), 'item');
    await fill(page, { quantity: 'two' });
    await page.click('text=Create order');
    await eventually('the quantity is refused', async () =>
      /whole number$/.test(await page.locator('#quantity-error').textContent()));
    await create(page, { item: 'Right now', quantity: '1', price: '1.00' });
    assert.equal(await page.locator('.field .error').count(), 0);
    assert.deepEqual(page.trouble, []);
  },

  async 'all functions work with the keyboard'(browser) {
    const page = await visit(browser);
    await isLive(page);
    const focused = () => page.evaluate(() => document.activeElement.id);
    const tabTo = async (wanted) => {
      for (let n = 0; n < 30 && !wanted.test(await focused()); n += 1) await page.keyboard.press('Tab');
      assert.match(await focused(), wanted);
      const ring = await page.evaluate(() => {
        const { outlineStyle, boxShadow } = getComputedStyle(document.activeElement);
        return outlineStyle !== 'none' || boxShadow !== 'none';
      });
      assert.ok(ring, 'the focus can be seen');
    };
    await tabTo(/^item$/);
    await page.keyboard.type('Keyboard');
    await tabTo(/^price$/);
    await page.keyboard.type('119.50');
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/orders\/.+/);
    const id = page.url().split('/').at(-1);
    assert.equal(await focused(), 'item');
    await page.keyboard.press('Escape');
    await eventually('Escape closes the order', async () => (await page.locator('.close').count()) === 0);
    await eventually('the focus is on its row', async () => (await focused()) === `row-${id}`);
    await page.keyboard.press('Enter');
    await page.locator('.timeline').waitFor();
    assert.deepEqual(page.trouble, []);
  },

  async 'an order is cancelled with a reason'(browser) {
    const page = await visit(browser);
    await isLive(page);
    // A scheduled order, so that it is still pending when the reason has been typed.
    const id = await createScheduled('Cancelled');
    await row(page, id).click();
    await page.locator('button.cancel').click();
    await page.fill('#reason', 'changed my mind');
    await page.keyboard.press('Enter');
    const cancelled = page.locator('.timeline [data-status="CANCELLED"]');
    await cancelled.waitFor();
    assert.match(await cancelled.textContent(), /changed my mind/);
    assert.equal(await page.locator('.actions').count(), 0);
    assert.deepEqual(page.trouble, []);
  },

  async 'a failed order is redriven'(browser) {
    const id = process.env.REDRIVEN_ORDER_ID;
    if (!id) return 'skipped: REDRIVEN_ORDER_ID is not set';
    const page = await visit(browser, `#/orders/${id}`);
    await page.click('button.redrive');
    await page.fill('#reason', 'fixed');
    await page.keyboard.press('Enter');
    const redriven = page.locator('.timeline li', { hasText: 'Redriven' });
    assert.match(await redriven.textContent(), /fixed/);
    await page.locator('.timeline li', { hasText: 'Redriven' }).locator('+ li').waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'the time in each status is shown and updated'(browser) {
    const id = await createScheduled('Hourglass');
    const page = await visit(browser, `#/orders/${id}`);
    const going = page.locator('.timeline .going .spent-time');
    const before = await going.textContent();
    assert.match(before, /^[\d.]+ (ms|s) so far$/);
    await eventually('the time increases', async () => (await going.textContent()) !== before);
    assert.equal(await page.locator('.spent rect').count(), 1);
    await cancelOrder(id);
    await page.locator('.timeline [data-status=CANCELLED]', { hasText: 'after' }).waitFor();
    assert.match(await page.locator('.spent').getAttribute('aria-label'), /^Time in each status: pending [\d.]+ (ms|s); [\d.]+ (ms|s) in all$/);
    assert.match(await page.locator('.sums').textContent(), /^Pending [\d.]+ (ms|s)$/);
    assert.deepEqual(page.trouble, []);
  },

  async 'an order has an address, and Back closes it'(browser) {
    const id = await createOrder('Linked');
    await completed(id);
    const page = await visit(browser, `#/orders/${id}`);
    await eventually('the timeline is complete', async () => (await steps(page)).at(-1) === 'Completed');
    await page.click('.close');
    await page.goBack();
    await page.locator('.timeline').waitFor();
    await page.evaluate(() => { location.hash = '#/orders/00000000-0000-7000-8000-000000000000'; });
    await page.locator('text=There is no order with this id').waitFor();
    assert.deepEqual(page.trouble, []);
  },

  async 'an empty page needs no horizontal scrolling'(browser) {
    const server = await Server.start();
    if (!server) return 'skipped: ORDERS_BIN is not set';
    const page = await visit(browser, '', { url: server.url, viewport: { width: 360, height: 740 } });
    await page.locator('.empty').waitFor();
    await fits(page);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'an order shows what it waits for'(browser) {
    const server = await Server.start('--simulate-failure-rate', '1', '--simulate-min-delay', '0', '--simulate-max-delay', '0');
    if (!server) return 'skipped: ORDERS_BIN is not set';
    const { url } = server;
    const page = await visit(browser, '', { url });
    await isLive(page);
    const waits = async (id, words) => {
      await row(page, id).waitFor();
      await eventually(`the row shows ${words}`, async () => words.test(await row(page, id).textContent()));
    };
    const scheduled = await createScheduled('Patient', { url });
    await waits(scheduled, /scheduled for .*2098|scheduled for .*2099/);
    await row(page, scheduled).click();
    await eventually('the open order shows it', async () => /Next\s*scheduled for/.test(await page.locator('.detail dl').textContent()));
    const failing = await createOrder('Failing', { url, maxAttempts: 20 });
    await waits(failing, /retry in \d+/);
    const post = (path) => fetch(new URL(path, url), { method: 'POST' });
    await post('queue/pause');
    const paused = await createOrder('Paused', { url });
    await waits(paused, /paused/);
    await post('queue/resume');
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'a phone needs no horizontal scrolling'(browser) {
    const id = await createOrder(LONG);
    const page = await visit(browser, '', { viewport: { width: 360, height: 740 } });
    await row(page, id).waitFor();
    await fits(page);
    await page.click('text=Create order');
    await page.locator('.field .error').first().waitFor();
    await fits(page);
    await row(page, id).click();
    await page.locator('.timeline').waitFor();
    await fits(page);
    assert.equal(await page.evaluate(() => document.activeElement.className), 'close');
    await page.keyboard.press('Escape');
    await eventually('the focus is on its row', async () => page.evaluate((row) => document.activeElement.id === row, `row-${id}`));
    assert.deepEqual(page.trouble, []);
  },

  async 'light and dark colour schemes'(browser) {
    for (const [colorScheme, dark] of [['light', false], ['dark', true]]) {
      const page = await visit(browser, '', { colorScheme });
      await isLive(page);
      const ground = await luminance(page, 'body', 'backgroundColor');
      const text = await luminance(page, 'body', 'color');
      assert.equal(ground < text, dark, colorScheme);
      const [low, high] = [ground, text].sort((a, b) => a - b);
      assert.ok((high + 0.05) / (low + 0.05) >= 7, `contrast in ${colorScheme}`);
      assert.deepEqual(page.trouble, []);
    }
  },

  async 'repeated and late events change nothing'(browser) {
    const repeat = (near) => {
      const old = [];
      near.connectToServer().onMessage((message) => {
        near.send(message);
        if (JSON.parse(message).type !== 'next') return;
        old.push(message);
        for (const again of old) near.send(again);
      });
    };
    const page = await visit(browser, '', { prepare: (blank) => blank.routeWebSocket(/graphql$/, repeat) });
    await isLive(page);
    const id = await create(page, { item: 'Echo', quantity: '1', price: '1' });
    const events = await completed(id);
    await eventually('the timeline is complete', async () => (await steps(page)).at(-1) === 'Completed');
    // A second order, so that all events of the first one are repeated after its end.
    await completed(await createOrder('Echo again'));
    assert.equal((await steps(page)).length, events);
    await eventually('the row is completed', async () => (await statusOf(page, id)) === 'Completed');
    assert.deepEqual(page.trouble, []);
  },

  async 'a pause is shown, and ended from the page'(browser) {
    const page = await visit(browser);
    await isLive(page);
    const pause = await fetch(new URL('queue/pause', base), {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ requestedBy: 'ann' }),
    });
    assert.equal(pause.status, 200);
    const banner = page.locator('.banner', { hasText: 'Processing is paused by ann.' });
    await banner.waitFor();
    const id = await createOrder('Patience');
    await row(page, id).waitFor();
    assert.equal(await statusOf(page, id), 'Pending');
    await banner.getByRole('button', { name: 'Resume' }).click();
    await banner.waitFor({ state: 'detached' });
    await completed(id);
    assert.deepEqual(page.trouble, []);
  },
};
