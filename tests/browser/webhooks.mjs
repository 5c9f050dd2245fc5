// The webhook endpoints in the console, with a receiver in this program.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { lowContrast } from './accessibility_and_csp.mjs';
import { Server, completed, createOrder, eventually, fits, said, stopLater, visit, withKeys } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';
/** What a receiver must not be able to do to the page. */
const MARKUP = '<img src="x" onerror="document.title=1"><b>no</b>';

/** Keeps what it receives. `respond` answers a request; it can be replaced. */
class Receiver {
  requests = [];
  respond = (response) => response.writeHead(204).end();
  #server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    this.requests.push({ headers: request.headers, body, event: JSON.parse(body) });
    this.respond(response);
  });

  async open(port = 0) {
    stopLater(() => this.close());
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = this.#server.address().port;
    this.url = `http://127.0.0.1:${this.port}/hooks`;
    return this;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  count = (type) => this.requests.filter(({ event }) => event.type === type).length;

  /** Waits until events of a type have arrived. */
  received = (type, number = 1) => eventually(`${number} ${type} are received`, () => this.count(type) >= number);
}

const button = (page, name) => page.getByRole('button', { name, exact: true });
const rowOf = (page, url) => page.locator('.hook', { hasText: url });

/** Opens the view, and creates an endpoint there; returns its secret. */
async function create(page, url) {
  await page.getByLabel('URL').fill(url);
  await page.keyboard.press('Enter');
  const secret = await page.getByLabel('Secret of the endpoint').inputValue();
  assert.match(secret, /^whsec_/);
  return secret;
}

const openTab = async (browser, server, options) => {
  const page = await visit(browser, 'console', { url: server.url, ...options });
  await page.getByRole('link', { name: 'Webhooks' }).click();
  await page.getByRole('heading', { name: 'Webhook endpoints' }).waitFor();
  return page;
};

/** Errors that the browser itself prints for refusals, which the checks cause. */
const trouble = (page) => page.trouble.filter((line) => !/status of 4\d\d/.test(line));

export const webhooks = {
  async 'a webhook endpoint is created, tested, and shows its deliveries'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const receiver = await new Receiver().open();
    receiver.respond = (response) => response.writeHead(200).end(MARKUP);
    const page = await openTab(browser, server, { permissions: ['clipboard-read', 'clipboard-write'] });
    const secret = await create(page, receiver.url);
    await button(page, 'Copy').click();
    await said(page, 'Secret copied.');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
    await button(page, 'I have stored it').click();
    await page.getByLabel('Secret of the endpoint').waitFor({ state: 'detached' });
    const id = await createOrder('Delivered', { url });
    await completed(id, url);
    await receiver.received('order.completed');
    const { headers, body } = receiver.requests[0];
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
    const signature = createHmac('sha256', key).update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`).digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${signature}`);
    const attempt = page.locator('.sent li', { hasText: 'order.completed' });
    await attempt.waitFor();
    assert.match(await attempt.textContent(), new RegExp(`200 delivered.*order.completed.*ms.*${id}-3`));
    assert.equal(await attempt.locator('.response').textContent(), MARKUP);
    await button(page, 'Send test').click();
    const result = page.getByRole('region', { name: 'Result of the test' });
    await result.waitFor();
    assert.match(await result.textContent(), /200 delivered.*webhook\.ping.*ms/);
    assert.equal(await result.locator('.response').textContent(), MARKUP);
    assert.equal(receiver.count('webhook.ping'), 1);
    await attempt.getByRole('button').click();
    await page.getByRole('region', { name: 'Result of the resend' }).getByText('order.completed').waitFor();
    assert.equal(receiver.count('order.completed'), 2);
    await page.getByLabel('Send one event again').fill(`${id}-1`);
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Result of the resend' }).getByText('order.created').waitFor();
    assert.equal(receiver.count('order.created'), 2);
    await page.getByLabel('Send one event again').fill(`${id}-99`);
    await page.keyboard.press('Enter');
    await page.locator('#event-error').waitFor();
    assert.equal(await page.locator('.detail img, .detail pre b').count(), 0);
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'errors of a new webhook endpoint are shown beside its fields'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await openTab(browser, server);
    await page.getByText('No endpoints yet').waitFor();
    await page.getByText('Events and options').click();
    await page.getByLabel('Currency').fill('nothing');
    await page.getByLabel('Requests at once').fill('many');
    await page.getByLabel('every event of orders').uncheck();
    await button(page, 'Create endpoint').click();
    await page.getByText('Events are missing: choose at least one').waitFor();
    await page.getByLabel('completed').check();
    await page.getByLabel('notices about other endpoints').check();
    await button(page, 'Create endpoint').click();
    await page.getByText('URL is required').waitFor();
    for (const name of ['URL', 'Currency', 'Requests at once']) {
      const described = await page.getByLabel(name).getAttribute('aria-describedby');
      assert.match(await page.locator(`#${described}`).textContent(), new RegExp(`^${name} `));
    }
    assert.equal(await page.evaluate(() => document.activeElement.id), 'hook-url');
    await page.getByLabel('Currency').fill('EUR');
    await page.getByLabel('Requests at once').fill('2');
    await page.getByLabel('Requests per second').fill('50');
    await page.getByLabel('Payload').selectOption('thin');
    await page.getByLabel('Format').selectOption('cloudevents');
    await page.getByLabel('Description').fill('For the ledger');
    await create(page, 'http://127.0.0.1:65535/');
    const facts = await page.locator('.detail dl').textContent();
    assert.match(facts, /order\.completed, webhook\.\* in EUR.*thin, cloudevents.*2 at once, 50 per second/);
    await page.locator('.hook .who', { hasText: 'For the ledger' }).waitFor();
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'a recovery of a webhook endpoint counts its events first, and shows its progress'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const receiver = await new Receiver().open();
    const page = await openTab(browser, server);
    await create(page, receiver.url);
    const orders = await Promise.all(['One', 'Two', 'Three'].map((item) => createOrder(item, { url })));
    await receiver.received('order.completed', orders.length);
    const held = [];
    receiver.respond = (response) => held.push(response);
    await button(page, 'Recover…').click();
    await page.getByLabel('Deliver again the events of').selectOption('time');
    await button(page, 'Count the events').click();
    await page.getByText('Choose a time.').waitFor();
    await page.getByLabel('Deliver again the events of').selectOption('24');
    await button(page, 'Count the events').click();
    await page.getByText('9 events since').waitFor();
    assert.equal(receiver.requests.length, 9);
    await button(page, 'Deliver again').click();
    const bar = page.locator('.detail').getByRole('progressbar');
    await bar.waitFor();
    await rowOf(page, receiver.url).locator('progress').waitFor();
    assert.match(await page.locator('.detail .recovery').textContent(), /recovers \d of 9 events/);
    await eventually('the first events are sent again', () => held.length === orders.length);
    assert.ok(await bar.evaluate(({ value, max }) => value < max));
    receiver.respond = (response) => response.writeHead(204).end();
    for (const response of held) response.writeHead(204).end();
    await page.getByText('The recovery has ended: 9 events sent again.').waitFor();
    await said(page, 'The recovery has ended.');
    assert.equal(receiver.requests.length, 18);
    await bar.waitFor({ state: 'detached' });
    held.length = 0;
    receiver.respond = (response) => held.push(response);
    await button(page, 'Recover…').click();
    await button(page, 'Count the events').click();
    await button(page, 'Deliver again').click();
    await button(page, 'Stop the recovery').click();
    await said(page, 'The recovery was stopped.');
    await bar.waitFor({ state: 'detached' });
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'a failing webhook endpoint is shown, and continues'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const receiver = await new Receiver().open();
    receiver.close();
    const page = await openTab(browser, server);
    const secret = await create(page, receiver.url);
    await createOrder('Undelivered', { url });
    const row = rowOf(page, receiver.url);
    await row.getByText('Failing', { exact: true }).waitFor();
    assert.match(await row.textContent(), /failing for .*\d events? behind/);
    await page.locator('.detail dl', { hasText: /Last error.*Next/ }).waitFor();
    await page.getByLabel('failed only').check();
    await page.locator('.sent .pill', { hasText: 'unreachable' }).first().waitFor();
    await button(page, 'Disable').click();
    await row.getByText('disabled on request').waitFor();
    const again = await new Receiver().open(receiver.port);
    await button(page, 'Enable').click();
    await row.getByText('Active').waitFor();
    await again.received('order.completed');
    await row.getByText('up to date').waitFor();
    await button(page, 'Rotate secret…').click();
    await button(page, 'Rotate secret').click();
    await page.getByText('The old secret signs for 24 hours more.').waitFor();
    assert.notEqual(await page.getByLabel('Secret of the endpoint').inputValue(), secret);
    await button(page, 'Delete…').click();
    await button(page, 'Keep it').click();
    await button(page, 'Delete…').click();
    await button(page, 'Delete endpoint').click();
    await page.getByText('No endpoints yet').waitFor();
    assert.equal(new URL(page.url()).pathname, '/console/webhooks');
    await page.goto(new URL('console/webhooks/01890a5d-ac96-774b-bcce-b302099a8057', url).href);
    await page.getByText('There is no endpoint with this id.').waitFor();
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'webhooks are not offered without their scope'(browser) {
    const { server, key } = await withKeys();
    if (!server) return SKIPPED;
    const { url } = server;
    const response = await fetch(new URL('api-keys', url), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ name: 'reader', role: 'reader' }),
    });
    for (const [credential, isOffered] of [[(await response.json()).key, false], [key, true]]) {
      const page = await visit(browser, 'login?next=/console/webhooks', { url, viewport: { width: 360, height: 740 } });
      await page.getByLabel('API key').fill(credential);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByText(isOffered ? 'No endpoints yet' : 'it needs the scope webhooks:manage').waitFor();
      assert.equal(await page.getByRole('link', { name: 'Webhooks' }).count(), isOffered ? 1 : 0);
      await page.getByRole('button', { name: 'Sign out' }).waitFor();
      await fits(page);
      assert.deepEqual(page.trouble, []);
    }
    return undefined;
  },

  async 'webhooks are legible, narrow and reachable by keyboard'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const receiver = await new Receiver().open();
    receiver.respond = (response) => response.writeHead(500).end('x'.repeat(900));
    const options = { viewport: { width: 360, height: 740 }, reducedMotion: 'reduce' };
    const page = await openTab(browser, server, options);
    await create(page, `${receiver.url}/${'long'.repeat(40)}`);
    await fits(page);
    await button(page, 'I have stored it').click();
    await completed(await createOrder('Refused', { url }), url);
    await page.locator('.sent .response').first().waitFor();
    await page.getByText('Messages that wait or have failed').waitFor();
    await fits(page);
    await page.keyboard.press('Escape');
    await eventually('the focus is on its row', () => page.evaluate(() => document.activeElement.classList.contains('hook')));
    await fits(page);
    await page.keyboard.press('Enter');
    await eventually('the focus is in the endpoint', () => page.evaluate(() => document.activeElement.id === 'hook-close'));
    for (let n = 0; n < 12 && (await page.evaluate(() => document.activeElement.textContent)) !== 'Recover…'; n += 1) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await eventually('the focus is on the question', () => page.evaluate(() => document.activeElement.id === 'since'));
    await fits(page);
    await page.keyboard.press('Escape');
    await button(page, 'Recover…').waitFor();
    for (const colorScheme of ['light', 'dark']) {
      const wide = await visit(browser, new URL(page.url()).pathname, { url, colorScheme, reducedMotion: 'reduce' });
      await wide.locator('.sent .response').first().waitFor();
      await wide.getByText('Events and options').click();
      await wide.getByLabel('Requests at once').fill('0');
      await button(wide, 'Create endpoint').click();
      await wide.locator('.new .error').first().waitFor();
      await button(wide, 'Send test').click();
      await wide.getByRole('region', { name: 'Result of the test' }).waitFor();
      assert.deepEqual(await lowContrast(wide), [], colorScheme);
      assert.equal(await wide.locator('[style], style, script:not([src]), [onerror]').count(), 0);
    }
    assert.deepEqual(trouble(page), []);
    return undefined;
  },
};
