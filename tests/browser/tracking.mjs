// The tracking page for customers at `/track/{id}`.

import assert from 'node:assert/strict';
import {
  Line, Server, cancelOrder, completed, createOrder, createScheduled, eventually, fits, isLive, said, visit, withKeys,
} from './harness.mjs';

const headline = (page, text) => page.locator('h1', { hasText: text }).waitFor();

/** Words of operators, which customers must not see. */
const INTERNAL = /lease|attempt|dead.?letter|redriv|retry|queue|worker|simulate|error|status|sequence/i;

async function isForCustomers(page) {
  assert.doesNotMatch(await page.locator('body').innerText(), INTERNAL);
  assert.equal(await page.locator('a, button, input').count(), 0, 'no control and no link to the operators');
}

export const tracking = {
  async 'a customer sees an order from receipt to completion'(browser) {
    const id = await createOrder('Teapot', { externalReference: 'WEB-77', quantity: 2 });
    const received = [];
    const listen = (blank) => blank.on('response', (response) => {
      if (/\/track\/[^/]+\/\w+$/.test(response.url())) received.push(response.text());
    });
    const page = await visit(browser, `track/${id}`, { prepare: listen });
    await headline(page, /^Your order is complete$/);
    await said(page, 'Your order is complete');
    assert.equal(await page.title(), 'Your order is complete – WEB-77');
    const text = (await page.locator('main').innerText()).replace(/\s+/g, ' ');
    assert.match(text, /Order received .*In progress .*Complete .*Order WEB-77.*2 × Teapot \$9\.50 each Total \$19\.00/);
    // The order is read and its steps are streamed, so the steps can arrive last.
    await eventually('a time for each step', async () => await page.locator('.progress time').count() === 3);
    await isForCustomers(page);
    assert.equal(await page.locator('meta[name=robots]').getAttribute('content'), 'noindex, nofollow');
    const bodies = await Promise.all(received);
    assert.equal(bodies.length, 2, 'the order and its changes');
    assert.doesNotMatch(bodies.join(), /reason|lease|attempt|failures|errorClass|customer/, 'fields that are not shown are not sent');
    assert.deepEqual(page.trouble, []);
  },

  async 'a customer sees changes live'(browser) {
    const id = await createScheduled('Surprise');
    const page = await visit(browser, `track/${id}`);
    await headline(page, /^We have received your order$/);
    await page.locator('text=/We will start on it on .*2099/').or(page.locator('text=/We will start on it on/')).first().waitFor();
    assert.equal(await page.locator('[aria-current=step]').count(), 1);
    await page.locator('text=This page updates by itself.').waitFor();
    await cancelOrder(id);
    await headline(page, /^Your order was cancelled$/);
    await said(page, 'Your order was cancelled');
    assert.match(await page.title(), /^Your order was cancelled/);
    await isForCustomers(page);
    assert.doesNotMatch(await page.locator('body').innerText(), /cancelled by a test/);
    assert.deepEqual(page.trouble, []);
  },

  async 'every page shows the progress of an attempt'(browser) {
    const server = await Server.start('--simulate-min-delay', '40s', '--simulate-max-delay', '40s');
    if (!server) return 'skipped: ORDERS_BIN is not set';
    const { url } = server;
    const id = await createOrder('Slow cooker', { url });
    const shows = async (page, place) => {
      const bar = page.locator(place);
      await bar.locator('text=/\\d+ %/').waitFor();
      const first = await bar.innerText();
      await eventually('the progress changes', async () => (await bar.innerText()) !== first);
      assert.deepEqual(page.trouble, []);
      return first;
    };
    const [customer, operator, all] = await Promise.all(
      [`track/${id}`, `console/orders/${id}`, `#/orders/${id}`].map((path) => visit(browser, path, { url })));
    await shows(customer, '[aria-current=step]');
    await isForCustomers(customer);
    for (const page of [operator, all]) {
      assert.match(await shows(page, '.attempt-progress'), /simulated work/);
      assert.ok(await page.locator('.attempt-progress progress').getAttribute('value') > 0);
    }
    await cancelOrder(id, url);
    await eventually('the progress ends', async () => await all.locator('.attempt-progress').count() === 0);
    return undefined;
  },

  async 'a customer sees a problem without its internals'(browser) {
    const id = process.env.FAILED_ORDER_ID;
    if (!id) return 'skipped: FAILED_ORDER_ID is not set';
    const page = await visit(browser, `track/${id}`);
    await headline(page, /^There is a problem with your order$/);
    await isForCustomers(page);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'an address without an order shows a message'(browser) {
    for (const path of ['track', 'track/', 'track/nonsense', 'track/00000000-0000-7000-8000-000000000000', 'track/%3Cb%3E']) {
      const page = await visit(browser, path);
      await headline(page, /^We cannot find this order$/);
      assert.equal(await page.title(), 'We cannot find this order');
      await isForCustomers(page);
      // The browser itself prints the refusal.
      assert.deepEqual(page.trouble.filter((line) => !/status of 404/.test(line)), [], path);
      await page.context().close();
    }
  },

  async 'a customer who was offline sees later changes'(browser) {
    const line = await new Line().open();
    const id = await createScheduled('Train ride');
    const page = await visit(browser, `track/${id}`, { url: line.url });
    await headline(page, /received/);
    await page.locator('text=This page updates by itself.').waitFor();
    await line.cut();
    await page.locator('text=No connection at the moment').waitFor();
    await cancelOrder(id);
    await line.restore();
    await headline(page, /^Your order was cancelled$/);
    await page.context().close();

    // A customer who opens the page while the requests fail.
    const late = await visit(browser, `track/${id}`, { prepare: async (blank) => {
      await blank.route('**/track/*/*', (route) => route.abort());
    } });
    await late.locator('text=No connection at the moment').waitFor();
    await late.unrouteAll();
    await headline(late, /^Your order was cancelled$/);
    assert.deepEqual(late.trouble.filter((text) => text.startsWith('script')), []);
  },

  async 'the tracking page fits a small phone, dark mode and paper'(browser) {
    const id = await createOrder('Extraordinarily'.repeat(13), { externalReference: `WEB-${'7'.repeat(60)}` });
    await completed(id);
    const page = await visit(browser, `track/${id}`, { viewport: { width: 320, height: 640 }, colorScheme: 'dark' });
    await headline(page, /complete/);
    await fits(page);
    const dark = await page.$eval('body', (body) => getComputedStyle(body).backgroundColor);
    await page.emulateMedia({ media: 'print', colorScheme: 'light' });
    assert.notEqual(await page.$eval('body', (body) => getComputedStyle(body).backgroundColor), dark);
    assert.ok(await page.locator('.progress').isVisible());
    assert.equal(await page.locator('.foot').isVisible(), false);
    assert.deepEqual(page.trouble, []);
  },

  async 'the open order links to its tracking page'(browser) {
    const id = await createOrder('Shown around');
    await completed(id);
    const page = await visit(browser, `#/orders/${id}`);
    await page.getByRole('link', { name: 'Tracking page' }).click();
    await page.waitForURL(`**/track/${id}`);
    await headline(page, /complete/);
    assert.deepEqual(page.trouble, []);
  },

  async 'a customer needs the link of the order'(browser) {
    const { server, key } = await withKeys();
    if (!server) return 'skipped: ORDERS_BIN is not set';
    const { url } = server;
    const post = async (path, body) => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
      const response = await fetch(new URL(path, url), { method: 'POST', headers, body: JSON.stringify(body) });
      assert.ok(response.ok, path);
      return response.status === 204 ? null : response.json();
    };
    const { id } = await post('orders', { item: 'Gift', quantity: 1, price: 1, processAfter: '2099-01-01T00:00:00Z' });
    const link = await post(`orders/${id}/tracking-links`, {});
    const sent = [];
    const listen = (blank) => blank.on('request', (request) => sent.push([request.url(), request.headers().referer ?? '']));
    const page = await visit(browser, link.url.slice(1), { url, prepare: listen });
    await headline(page, /^We have received your order$/);
    await isForCustomers(page);
    assert.ok(sent.length > 5 && !sent.flat().join().includes(link.token), 'no address contains the token');
    assert.deepEqual(page.trouble, []);
    await post(`orders/${id}/cancel`, {});
    await headline(page, /^Your order was cancelled$/);
    await page.context().close();

    // Without a token, with that of another order, and after the links were revoked.
    const { id: other } = await post('orders', { item: 'Cup', quantity: 1, price: 1, processAfter: '2099-01-01T00:00:00Z' });
    for (const [path, title] of [
      [`track/${id}`, /^This link is not complete$/],
      [`track/${other}#t=${link.token}`, /^This link is no longer valid$/],
    ]) {
      const refused = await visit(browser, path, { url, viewport: { width: 320, height: 640 } });
      await headline(refused, title);
      await isForCustomers(refused);
      await fits(refused);
      assert.equal(new URL(refused.url()).pathname, `/${path.split('#')[0]}`, 'customers are not sent to /login');
      await refused.context().close();
    }
    const { url: path } = await post(`orders/${other}/tracking-links`, { ttlDays: 1 });
    const open = await visit(browser, path.slice(1), { url });
    await headline(open, /received/);
    await post('tracking-links/revoke');
    await headline(open, /^This link is no longer valid$/);
    await said(open, 'This link is no longer valid');
    await isForCustomers(open);
    await open.context().close();

    // An operator opens the page with a new link.
    const operator = await visit(browser, 'login', { url });
    await operator.getByLabel('API key').fill(key);
    await operator.getByRole('button', { name: 'Sign in' }).click();
    await isLive(operator);
    await operator.goto(new URL(`#/orders/${other}`, url).href);
    await operator.getByRole('link', { name: 'Tracking page' }).click();
    await headline(operator, /received/);
    assert.match(new URL(operator.url()).hash, /^#t=v1\.\d+\.[\w-]{22}$/);
    return undefined;
  },
};
