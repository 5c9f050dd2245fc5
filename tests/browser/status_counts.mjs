// The counts above the list: orders by status and orders per second.

import assert from 'node:assert/strict';
import {
  Line, Server, cancelOrder, createOrder, createScheduled, eventually, graphql, isLive, visit,
} from './harness.mjs';

const STATUSES = ['pending', 'processing', 'completed', 'failed', 'cancelled'];

const SKIPPED = 'skipped: ORDERS_BIN is not set';

/** Returns the counters of the page in the order of the statuses; NaN until they are known. */
const shown = async (page) => (await page.locator('.counts b').allTextContents())
  .map((text) => Number(text.replaceAll(',', '').replace('–', 'NaN')));

const counted = async (url) => {
  const { queue: { counts } } = await graphql(`{ queue { counts { ${STATUSES.join(' ')} } } }`, {}, url);
  return STATUSES.map((status) => counts[status]);
};

const agree = (page, url) => eventually('the page shows what the server counts', async () => {
  const [here, there] = await Promise.all([shown(page), counted(url)]);
  return JSON.stringify(here) === JSON.stringify(there);
});

/** Creates many orders at once. A busy server responds with 503 and has created none. */
async function createMany(count, url) {
  const order = (_, n) => ({ item: `Many ${n}`, quantity: 1, price: '1.00' });
  await eventually('many orders are created', async () => {
    const response = await fetch(new URL('orders/bulk', url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(Array.from({ length: count }, order)),
    });
    assert.ok(response.ok || response.status === 503, await response.text());
    return response.ok;
  });
}

const alternative = (page) => page.locator('.sparkline').getAttribute('aria-label');

export const statusCounts = {
  async 'the counters include all orders and update live'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    await createOrder('Already there', { url });
    const page = await visit(browser, '', { url });
    await isLive(page);
    await agree(page, url);
    const [pending, , , , cancelled] = await shown(page);
    const id = await createScheduled('Counted', { url });
    await eventually('one more is pending', async () => (await shown(page))[0] === pending + 1);
    await cancelOrder(id, url);
    await eventually('it is cancelled', async () => {
      const now = await shown(page);
      return now[0] === pending && now[4] === cancelled + 1;
    });
    await agree(page, url);
    // A new page shows the same counters.
    const other = await visit(browser, '', { url });
    await agree(other, url);
    assert.deepEqual(page.trouble, []);
    assert.deepEqual(other.trouble, []);
    return undefined;
  },

  async 'repeated events do not change the counters'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const repeat = (near) => near.connectToServer().onMessage((message) => {
      near.send(message);
      if (JSON.parse(message).type === 'next') near.send(message);
    });
    // Only the first query for the counts is let through; later changes come from events.
    let asked = 0;
    const once = (route) => (/Queue/.test(route.request().postData()) && asked++ > 0 ? route.abort() : route.continue());
    const page = await visit(browser, '', {
      url,
      prepare: async (blank) => {
        await blank.routeWebSocket(/graphql$/, repeat);
        await blank.route('**/graphql', once);
      },
    });
    await isLive(page);
    await eventually('the counters are known', async () => (await shown(page)).every((number) => number >= 0));
    const [pending, , , , cancelled] = await shown(page);
    const ids = await Promise.all(['One', 'Two', 'Three'].map((item) => createScheduled(item, { url })));
    await eventually('three more are pending', async () => (await shown(page))[0] === pending + 3);
    await Promise.all(ids.map((id) => cancelOrder(id, url)));
    await eventually('three more are cancelled', async () => (await shown(page))[4] === cancelled + 3);
    assert.equal((await shown(page))[0], pending);
    return undefined;
  },

  async 'orders per second are drawn and announced, and a gap is marked'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, '', { url: line.url });
    await isLive(page);
    await Promise.all(Array.from({ length: 8 }, (_, n) => createOrder(`Beat ${n}`)));
    await eventually('the sparkline rises', async () => /now [\d.]*[1-9][\d.]* accepted and .*at most \d+ in a second/.test(await alternative(page)));
    assert.equal(await page.locator('.sparkline .gap').count(), 0);
    await line.cut();
    await page.locator('.connection.lost').waitFor();
    await page.locator('.sparkline .gap').first().waitFor({ state: 'attached' });
    await line.restore();
    await isLive(page);
    await eventually('the gap is announced', async () => /gaps? without connection/.test(await alternative(page)));
  },

  async 'the page responds during thousands of orders, and is correct afterwards'(browser) {
    const server = await Server.start('--simulate-min-delay', '0', '--simulate-max-delay', '0', '--concurrency', '500');
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, '', { url });
    await isLive(page);
    await page.evaluate(() => {
      globalThis.told = 0;
      const region = document.querySelector('[aria-live]');
      new MutationObserver(() => { globalThis.told += 1; }).observe(region, { childList: true, characterData: true, subtree: true });
    });
    const many = (async () => { for (let n = 0; n < 4; n += 1) await createMany(1_000, url); })();
    await page.locator('.rows a').first().waitFor();
    // A user types meanwhile.
    for (let n = 0; n < 5; n += 1) {
      await page.fill('#item', `Typed ${n}`);
      assert.equal(await page.inputValue('#item'), `Typed ${n}`);
    }
    assert.equal(await page.evaluate(() => globalThis.told), 0, 'a busy list is not announced');
    await page.locator('.rows a').first().click();
    await page.locator('.timeline').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.timeline').waitFor({ state: 'detached' });
    await many;
    await eventually('all are completed', async () => (await counted(url))[2] === 4_000);
    await agree(page, url);
    assert.deepEqual(await shown(page), [0, 0, 4_000, 0, 0]);
    await eventually('the list is complete', async () => {
      const texts = await page.locator('.rows .pill').allTextContents();
      return texts.length === 50 && texts.every((text) => text === 'Completed');
    });
    assert.deepEqual(page.trouble, []);
    return undefined;
  },
};
