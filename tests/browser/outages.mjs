// The page at `/` when the connection is lost.

import assert from 'node:assert/strict';
import {
  Line, Server, cancelOrder, completed, createOrder, createScheduled, eventually, isLive, row, said, statusOf, steps, visit,
} from './harness.mjs';

const banner = (page) => page.locator('.banner', { hasText: 'Connection lost – trying again…' });

async function caughtUp(page, id) {
  await eventually('the row is completed', async () => (await statusOf(page, id)) === 'Completed');
  assert.equal(await banner(page).count(), 0);
}

export const outages = {
  async 'a lost connection is shown, and the page catches up'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, '', { url: line.url });
    await isLive(page);
    const before = await createOrder('Before the outage');
    await row(page, before).click();
    await page.locator('.timeline').waitFor();
    await line.cut();
    await banner(page).waitFor();
    const events = await completed(before);
    const during = await createOrder('During the outage');
    await completed(during);
    assert.equal(await row(page, during).count(), 0);

    // A request without a connection is reported.
    await page.fill('#item', 'Never arrives');
    await page.fill('#price', '1');
    await page.click('text=Create order');
    await page.locator('.new > .error', { hasText: 'No answer from the server' }).waitFor();
    assert.equal(await page.inputValue('#item'), 'Never arrives');

    await line.restore();
    await isLive(page);
    await row(page, during).waitFor();
    await caughtUp(page, during);
    await eventually('the timeline has every step once', async () => (await steps(page)).length === events);

    // Later orders appear as before.
    const after = await createOrder('After the outage');
    await row(page, after).waitFor();
    await caughtUp(page, after);
  },

  async 'a silent connection is detected'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, '', { url: line.url });
    await isLive(page);
    line.freeze();
    await banner(page).waitFor();
    const during = await createOrder('During the silence');
    await line.restore();
    await page.locator('text=Try now').click({ timeout: 1_000 }).catch(() => {}); // the page may have reconnected
    await row(page, during).waitFor();
    await caughtUp(page, during);
  },

  async 'a page that loads without a connection shows it'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, '', { url: line.url });
    await isLive(page);
    await page.context().route('**/graphql', (route) => route.abort());
    await page.context().routeWebSocket(/graphql$/, (socket) => socket.close({ code: 1012 }));
    await page.reload();
    await banner(page).waitFor();
    await page.locator('text=The list could not be read').waitFor();
    await page.context().unrouteAll();
  },

  async 'the page catches up after a restart of the server'(browser) {
    const server = await Server.start('--simulate-min-delay', '0', '--simulate-max-delay', '0');
    if (!server) return 'skipped: ORDERS_BIN is not set';
    const { url } = server;
    const watched = await createScheduled('Watched', { url });
    const page = await visit(browser, `#/orders/${watched}`, { url });
    await isLive(page);
    await page.locator('.timeline').waitFor();
    await server.kill();
    await banner(page).waitFor();
    await said(page, 'Connection lost.');
    await server.restart();
    const after = await createOrder('After the restart', { url });
    await completed(after, url);
    await cancelOrder(watched, url);
    await isLive(page);
    await said(page, 'Connected again.');
    await caughtUp(page, after);
    await eventually('the timeline continues after its last step', async () =>
      JSON.stringify(await steps(page)) === '["Pending","Cancelled"]');
    await eventually('the counters are right', async () =>
      (await page.locator('.counts b').allTextContents()).join() === '0,0,1,0,1');
    assert.deepEqual(page.trouble.filter((text) => text.startsWith('script')), []);
    return undefined;
  },

  async 'a frozen page catches up'(browser) {
    const watched = await createScheduled('Asleep');
    const page = await visit(browser, `#/orders/${watched}`);
    await isLive(page);
    await page.locator('.timeline').waitFor();
    const browserSide = await page.context().newCDPSession(page);
    await browserSide.send('Page.setWebLifecycleState', { state: 'frozen' });
    const during = await createOrder('While it slept');
    await completed(during);
    await cancelOrder(watched);
    await browserSide.send('Page.setWebLifecycleState', { state: 'active' });
    await caughtUp(page, during);
    await eventually('the timeline continues', async () => JSON.stringify(await steps(page)) === '["Pending","Cancelled"]');
    assert.deepEqual(page.trouble, []);
  },

  async 'a browser without network shows it and reconnects'(browser) {
    const page = await visit(browser);
    await isLive(page);
    await page.context().setOffline(true);
    await page.locator('.connection.lost').waitFor();
    const during = await createOrder('While offline');
    await completed(during);
    await page.context().setOffline(false);
    await isLive(page);
    await row(page, during).waitFor();
    await caughtUp(page, during);
    assert.deepEqual(page.trouble.filter((text) => text.startsWith('script')), []);
  },
};
