// The columns of the orders, which the user chooses, and what the charts show beside the numbers: marks and small charts.

import assert from 'node:assert/strict';
import { useFixedApi } from './console_api.mjs';
import { Server, createScheduled, eventually, fits, isLive, visit } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';

const heads = (page) => page.locator('.orders thead th').evaluateAll((all) => all.filter((each) => each.checkVisibility()).map((each) => each.textContent.trim()).filter(Boolean));

export const consoleColumns = {
  async 'console: the columns of the orders are chosen, and kept in the browser'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    await createScheduled('Teapot', { url, priority: 'HIGH', customer: 'ann@example.com' });
    const page = await visit(browser, 'console/orders', { url });
    await isLive(page);
    const first = ['Status', 'Order', 'Customer', 'Reference', 'Total', 'Why', 'Created ↓'];
    assert.deepEqual(await heads(page), first);
    await page.getByText('Columns').click();
    await page.getByLabel('Priority').check();
    await page.getByLabel('Customer').uncheck();
    await page.getByLabel('Attempts').check();
    await page.locator('.orders .c-priority', { hasText: 'high' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByLabel('Priority').waitFor({ state: 'hidden' });
    const chosen = ['Status', 'Order', 'Reference', 'Total', 'Attempts', 'Priority', 'Why', 'Created ↓'];
    assert.deepEqual(await heads(page), chosen);
    await page.reload();
    await isLive(page);
    assert.deepEqual(await heads(page), chosen);
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page);
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.getByText('Columns').click();
    await page.getByRole('button', { name: 'As at first' }).click();
    await eventually('the columns are as at first', async () => (await heads(page)).join() === first.join());
    // A click beside the menu closes it.
    await page.locator('#search').click();
    await page.getByLabel('Priority').waitFor({ state: 'hidden' });
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: pauses, redrives and started gateways are marks in the charts'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    for (const action of ['pause', 'resume']) await fetch(new URL(`queue/${action}`, url), { method: 'POST' });
    const page = await visit(browser, 'console', { url, prepare: (blank) => useFixedApi(blank, ['/stats']) });
    const marks = page.getByRole('list', { name: 'Marks in the charts' });
    await eventually('the marks', async () => /\d+ redriven.*a gateway started, version .*paused.*resumed/.test((await marks.allTextContents()).join()));
    const chart = page.locator('.chart').first();
    assert.ok((await chart.locator('.mark').count()) >= 4);
    assert.match(await chart.getByRole('img').getAttribute('aria-label'), /; marks: .*redriven.*paused/);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: a group of dead letters shows how often its error class occurs'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console/dead-letters', { url: server.url, prepare: (blank) => useFixedApi(blank) });
    const group = page.locator('.group', { hasText: 'HTTP 503 from host-*' });
    assert.match(await group.getByRole('img').getAttribute('aria-label'), /^http_503 in the last 6 h: at most \d+ in 6 min/);
    // The statistics have no failure of this class.
    assert.equal(await page.locator('.group', { hasText: 'http_422' }).getByRole('img').count(), 0);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },
};
