// What the console changes of an open order: its metadata, its notes, and the order itself by a replacement.

import assert from 'node:assert/strict';
import { Server, createScheduled, eventually, said, visit } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';

const button = (page, name) => page.getByRole('button', { name, exact: true });
const field = (page, name) => page.getByLabel(name, { exact: true });

/** Errors that the browser itself prints for refusals, which the checks cause. */
const trouble = (page) => page.trouble.filter((line) => !/status of 4\d\d/.test(line));

async function rest(url, path, method = 'GET', body = undefined) {
  const response = await fetch(new URL(path, url), { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  return response.json();
}

/** A server with one order that waits, and its page. */
async function opened(browser) {
  const server = await Server.start();
  if (!server) return null;
  const { url } = server;
  const id = await createScheduled('Desk lamp', { url, customer: 'ann@example.com' });
  const page = await visit(browser, `console/orders/${id}`, { url });
  await page.getByRole('heading', { name: 'Desk lamp' }).waitFor();
  return { url, id, page };
}

export const consoleOrderData = {
  async 'console: metadata is edited, and a change of another user is not lost'(browser) {
    const start = await opened(browser);
    if (!start) return SKIPPED;
    const { url, id, page } = start;
    const path = `orders/${id}/metadata`;
    await button(page, 'Edit metadata…').click();
    await field(page, 'Key 1').fill('channel');
    await field(page, 'Value 1').fill('web');
    await button(page, 'Add a key').click();
    await field(page, 'Key 2').fill('gift');
    await field(page, 'Value 2').fill('yes');
    await button(page, 'Save metadata').click();
    await said(page, 'The metadata is changed.');
    assert.deepEqual(await rest(url, path), { channel: 'web', gift: 'yes' });
    await page.getByRole('link', { name: 'web', exact: true }).waitFor();

    await button(page, 'Edit metadata…').click();
    await button(page, 'Remove key 2').click();
    await rest(url, path, 'PATCH', { channel: 'phone' });
    await button(page, 'Save metadata').click();
    await page.getByRole('alert').getByText('Another user has changed the metadata').waitFor();
    assert.equal(await field(page, 'Value 1').inputValue(), 'phone');
    await button(page, 'Remove key 2').click();
    await button(page, 'Save metadata').click();
    await eventually('the key is removed', async () => JSON.stringify(await rest(url, path)) === '{"channel":"phone"}');
    await button(page, 'Edit metadata…').click();
    await field(page, 'Key 2').fill('a b');
    await button(page, 'Save metadata').click();
    await page.getByRole('alert').getByText(/a b/).waitFor();
    await page.keyboard.press('Escape');
    await button(page, 'Edit metadata…').waitFor();
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: notes are added and shown, the public ones on the tracking page'(browser) {
    const start = await opened(browser);
    if (!start) return SKIPPED;
    const { url, id, page } = start;
    await button(page, 'Add a note…').click();
    await page.fill('#note', 'in box 7');
    await page.fill('#milestone', 'packed');
    await page.getByLabel('The customer sees it').check();
    await button(page, 'Add note').click();
    await said(page, 'The note is added.');
    await page.locator('.notes').getByText('in box 7').waitFor();
    assert.equal((await rest(url, `orders/${id}/notes`))[0].milestone, 'packed');
    const tracking = await visit(browser, `track/${id}`, { url });
    await tracking.getByText('in box 7').waitFor();
    assert.deepEqual([...page.trouble, ...tracking.trouble], []);
    return undefined;
  },

  async 'console: an order that was not started is replaced'(browser) {
    const start = await opened(browser);
    if (!start) return SKIPPED;
    const { url, id, page } = start;
    await button(page, 'Replace order…').click();
    await field(page, 'Quantity of line 1').fill('3');
    await button(page, 'Replace order').click();
    await said(page, 'The order is replaced.');
    const { replacedBy, status } = await rest(url, `orders/${id}`);
    assert.equal(status, 'cancelled');
    await page.waitForURL(`**/console/orders/${replacedBy}`);
    await page.getByRole('link', { name: id }).waitFor();
    const { quantity, customer, replaces } = await rest(url, `orders/${replacedBy}`);
    assert.deepEqual({ quantity, customer, replaces }, { quantity: 3, customer: 'ann@example.com', replaces: id });
    assert.deepEqual(trouble(page), []);
    return undefined;
  },
};
