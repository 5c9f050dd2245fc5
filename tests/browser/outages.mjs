// The page at `/` when the connection is lost.

import assert from 'node:assert/strict';
import { Line, completed, createOrder, eventually, isLive, row, statusOf, steps, visit } from './harness.mjs';

const banner = (page) => page.locator('.banner', { hasText: 'Connection lost – trying again…' });

async function caughtUp(page, id) {
  await eventually('the row is completed', async () => (await statusOf(page, id)) === 'Completed');
  assert.equal(await banner(page).count(), 0);
}

export const outages = {
  async 'a lost connection is told, and everything is caught up'(browser) {
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

    // What is sent meanwhile is not lost quietly.
    await page.fill('#item', 'Never arrives');
    await page.fill('#price', '1');
    await page.click('text=Create order');
    await page.locator('.new > .error', { hasText: 'No answer from the server' }).waitFor();
    assert.equal(await page.inputValue('#item'), 'Never arrives');

    await line.mend();
    await isLive(page);
    await row(page, during).waitFor();
    await caughtUp(page, during);
    await eventually('the timeline has every step once', async () => (await steps(page)).length === events);

    // And it goes on as if nothing had been.
    const after = await createOrder('After the outage');
    await row(page, after).waitFor();
    await caughtUp(page, after);
    await page.context().close();
    await line.cut();
  },

  async 'a connection that falls silent is noticed'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, '', { url: line.url });
    await isLive(page);
    line.freeze();
    await banner(page).waitFor();
    const during = await createOrder('During the silence');
    await line.mend();
    await page.locator('text=Try now').click({ timeout: 1_000 }).catch(() => {}); // it may have come back by itself
    await row(page, during).waitFor();
    await caughtUp(page, during);
    await page.context().close();
    await line.cut();
  },

  async 'a page that is opened without a connection says so'(browser) {
    const line = await new Line().open();
    const page = await visit(browser, '', { url: line.url });
    await isLive(page);
    await page.context().route('**/graphql', (route) => route.abort());
    await page.context().routeWebSocket(/graphql$/, (socket) => socket.close({ code: 1012 }));
    await page.reload();
    await banner(page).waitFor();
    await page.locator('text=The list could not be read').waitFor();
    await page.context().unrouteAll();
    await page.context().close();
    await line.cut();
  },
};
