// Signing in with an API key on a server that requires one.

import assert from 'node:assert/strict';
import { eventually, fits, isLive, visit, withKeys } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';

/** Errors that the browser itself prints for responses with 401, which the checks cause. */
const trouble = (page) => page.trouble.filter((line) => !/status of 401/.test(line));

export const sessions = {
  async 'a key opens the page until the user signs out'(browser) {
    const { server, key } = await withKeys();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, '', { url, viewport: { width: 360, height: 740 } });
    await page.getByLabel('API key').waitFor();
    await fits(page);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Paste an API key.').waitFor();
    await page.getByLabel('API key').fill(`${key}x`);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The API key is not valid.').waitFor();
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await isLive(page);
    await fits(page);
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['orders-session', true, 'Strict']);
    assert.equal(await page.evaluate(() => document.cookie), '');
    const order = await page.evaluate(async () => {
      const body = JSON.stringify({ item: 'Tea', quantity: 1, price: 1 });
      return (await fetch('orders', { method: 'POST', headers: { 'content-type': 'application/json' }, body })).status;
    });
    assert.equal(order, 201);
    await page.getByText('Tea').first().waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API key').waitFor();
    assert.deepEqual(await page.context().cookies(), []);
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'the page asks for a key again when it was revoked'(browser) {
    const { server, key } = await withKeys();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'login?next=/%23/', { url });
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await isLive(page);
    const revoked = await fetch(new URL(`api-keys/${key.split('_')[1]}`, url), {
      method: 'DELETE', headers: { authorization: `Bearer ${key}` },
    });
    assert.equal(revoked.status, 200);
    await page.getByLabel('API key').waitFor();
    assert.equal(new URL(page.url()).pathname, '/login');
    return undefined;
  },

  async 'a link to another site is not opened after signing in'(browser) {
    const { server, key } = await withKeys();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'login?next=https://example.com/', { url });
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await isLive(page);
    await eventually('the page of this server is open', () => page.url().startsWith(url.href));
    assert.deepEqual(page.trouble, []);
    return undefined;
  },
};
