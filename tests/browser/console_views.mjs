// The other views of the console: overview, dead letters, workers, queue, events, access and system.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { useFixedApi } from './console_api.mjs';
import { Server, completed, createOrder, createScheduled, eventually, isLive, said, visit, withKeys } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';
const NEW_APIS = ['/stats', '/health', '/workers', '/system', '/dead-letters/groups'];

const button = (page, name) => page.getByRole('button', { name, exact: true });
const trouble = (page) => page.trouble.filter((line) => !/status of 4\d\d/.test(line));
const queueOf = async (url) => (await fetch(new URL('queue', url))).json();

/** Answers the new APIs as a server that does not have them. */
const withoutApis = (page) => page.route('**/*', (route) => {
  const { pathname } = new URL(route.request().url());
  if (!NEW_APIS.some((path) => pathname.startsWith(path))) return route.fallback();
  const body = JSON.stringify({ type: '/problems#not_found', title: 'The path does not exist', status: 404, code: 'not_found' });
  return route.fulfill({ status: 404, contentType: 'application/problem+json', body });
});

export const consoleViews = {
  async 'console: the overview shows the state, its reasons and the charts'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console', { url: server.url, prepare: (blank) => useFixedApi(blank) });
    await page.getByText('Degraded').waitFor();
    const reason = page.locator('.reasons li', { hasText: 'http_503 has failed 41 orders' });
    await reason.waitFor();
    assert.match(await reason.getByRole('link', { name: 'What to do' }).getAttribute('href'), /\/guide\/operate\/runbooks\.html#failures_rising$/);
    const charts = page.getByRole('img');
    await eventually('six charts', async () => (await charts.count()) === 6);
    const words = await charts.evaluateAll((all) => all.map((each) => each.getAttribute('aria-label')));
    assert.match(words[0], /^Orders per minute: accepted now \d+, completed now \d+, failed now \d+, at most \d+; one gap without data; marks: .+\.$/);
    assert.match(words[1], /http_503 now \d+, timeout now \d+/);
    assert.match(words[2], /^Wait for a worker: p50 now .* ms, p95 now/);
    assert.ok((await page.locator('.plot .gap').count()) >= 6, 'gaps are drawn');
    const first = page.locator('.chart').first();
    await first.locator('svg').hover({ position: { x: 40, y: 40 } });
    await first.locator('.pointer').waitFor({ state: 'attached' });
    assert.match(await first.locator('.chart-time').textContent(), /\d:\d\d/);
    await page.getByText('The numbers as a table').click();
    assert.ok((await page.locator('.numbers tbody tr').count()) > 50);
    await page.locator('.numbers td', { hasText: 'not observed' }).first().waitFor();
    await page.getByRole('link', { name: '6 h' }).click();
    await page.waitForURL(/window=6h/);
    await page.getByRole('heading', { name: 'Orders per 6 min' }).waitFor();
    await page.getByRole('link', { name: /^Failed/ }).click();
    await page.waitForURL(/console\/dead-letters/);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: a view whose API is missing says so'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    for (const [path, words] of [['', 'Charts are not available'], ['/dead-letters', 'Groups of dead letters are not available'], ['/workers', 'Workers are not available'], ['/system', 'The parts of the system are not available']]) {
      const page = await visit(browser, `console${path}`, { url, prepare: withoutApis });
      await page.getByText(words).waitFor();
      assert.deepEqual(trouble(page), [], path);
    }
    const page = await visit(browser, 'console', { url, prepare: withoutApis });
    await page.getByText('All is well').waitFor();
    await fetch(new URL('queue/pause', url), { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"requestedBy": "ann"}' });
    await page.locator('.reasons', { hasText: 'processing is paused by ann' }).waitFor();
    return undefined;
  },

  async 'console: dead letters are grouped, listed and redriven'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console/dead-letters', { url: server.url, prepare: (blank) => useFixedApi(blank) });
    await page.getByText('664 orders in 4 groups').waitFor();
    const group = page.locator('.group', { hasText: 'HTTP 503 from host-*' });
    assert.match(await group.textContent(), /412.*http_503.*97 customers · first .* · last/);
    const sent = page.waitForRequest((request) => request.url().endsWith('/dead-letters/redrive') && request.postDataJSON().dryRun);
    await group.getByRole('button', { name: 'Redrive…' }).click();
    assert.deepEqual((await sent).postDataJSON().filter, { errorClass: 'http_503', reason: 'HTTP 503 from host-*' });
    await page.getByRole('heading', { name: 'Redrive 634 orders' }).waitFor();
    await page.getByLabel('Why are they tried again?').fill('the carrier is back');
    await page.getByLabel('Starts per second').fill('50');
    await page.getByLabel('Your name').fill('ann');
    const first = page.waitForRequest((request) => request.url().endsWith('/dead-letters/redrive') && !request.postDataJSON().dryRun);
    await button(page, 'Redrive 634').click();
    const body = (await first).postDataJSON();
    assert.deepEqual([body.reason, body.requestedBy, body.ratePerSecond], ['the carrier is back', 'ann', 50]);
    await page.getByText('634 of 634 redriven').waitFor();
    await said(page, '634 orders redriven.');
    await button(page, 'Close').last().click();
    await group.getByRole('link', { name: 'Open list' }).click();
    await eventually('the list of the group', () => new URL(page.url()).searchParams.get('q') === 'status:failed class:http_503 reason:"HTTP 503 from host-*"');
    assert.deepEqual(trouble(page), []);
    return undefined;
  },

  async 'console: workers are listed with what they are doing'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console/workers', { url: server.url, prepare: (blank) => useFixedApi(blank) });
    const row = page.locator('.workers tbody tr', { hasText: 'packer-2' });
    assert.match(await row.textContent(), /Connected.*packer-2.*web-2.*0\.1\.0.*3 \/ 64.*65.*1\.5.*1\.6 s/);
    await page.locator('.workers tbody tr', { hasText: 'Lost' }).waitFor();
    await row.click();
    await page.waitForURL(/workers\/packer-2/);
    const panel = page.getByRole('complementary', { name: 'Worker' });
    await panel.getByText('attempt 1, started').waitFor();
    assert.match(await panel.getByRole('link', { name: 'Orders of this worker' }).getAttribute('href'), /q=worker%3Apacker-2/);
    await page.getByRole('link', { name: 'Close the worker' }).click();
    await panel.waitFor({ state: 'detached' });
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: the queue is paused and resumed after a question'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/queue', { url });
    await page.getByText('Orders are started as soon as a worker is free.').waitFor();
    await button(page, 'Pause…').click();
    await page.getByLabel('Your name').fill('ann');
    await page.getByLabel('Reason').fill('stocktaking');
    await button(page, 'Pause').click();
    await said(page, 'Processing is paused until');
    const state = await queueOf(url);
    assert.equal(state.pausedBy, 'ann (stocktaking)');
    const minutes = (new Date(state.pausedUntil) - Date.now()) / 60_000;
    assert.ok(minutes > 10 && minutes <= 15, `${minutes} min`);
    await page.getByText('Paused by ann (stocktaking)').waitFor();
    await page.locator('.side').getByRole('link', { name: 'Orders' }).click();
    await page.getByText('Processing is paused by ann (stocktaking).').waitFor();
    await page.getByRole('link', { name: 'Open the queue' }).click();
    await button(page, 'Resume…').click();
    assert.equal((await queueOf(url)).paused, true);
    await button(page, 'Keep it paused').click();
    await button(page, 'Resume…').click();
    await button(page, 'Resume').click();
    await said(page, 'Processing is resumed.');
    assert.equal((await queueOf(url)).paused, false);
    await button(page, 'Pause…').click();
    await page.getByLabel('How long').selectOption('');
    await button(page, 'Pause').click();
    await page.getByText('it lasts until it is resumed').waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: events are followed, filtered, frozen and saved'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/events', { url });
    await isLive(page);
    await page.getByText('Listening.').waitFor();
    const lines = page.locator('.events tbody tr');
    // No message states when the subscription has begun.
    await eventually('an event', async () => { await createScheduled('Wake', { url }); return (await lines.count()) > 0; });
    const id = await createOrder('Followed', { url });
    await completed(id, url);
    const own = lines.filter({ hasText: id });
    await eventually('its three events', async () => (await own.count()) === 3);
    await button(page, 'completed').click();
    await eventually('its last event', async () => (await lines.count()) === 1);
    const saved = page.waitForEvent('download');
    await button(page, 'Download').click();
    const text = await readFile(await (await saved).path(), 'utf8');
    assert.deepEqual(text.trim().split('\n').map((line) => JSON.parse(line).status), ['COMPLETED']);
    await button(page, 'completed').click();
    await page.getByLabel('Filter events').fill(id.slice(-12));
    await eventually('only its events', async () => (await lines.count()) === 3);
    await page.getByLabel('Filter events').fill('');
    await button(page, 'Freeze').click();
    const before = await lines.count();
    await createScheduled('Unseen', { url });
    await page.getByRole('button', { name: /Continue \(1 new\)/ }).waitFor();
    assert.equal(await lines.count(), before);
    await page.getByRole('button', { name: /Continue/ }).click();
    await eventually('the new event', async () => (await lines.count()) === before + 1);
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: keys are created, rotated and revoked, and the audit log shows it'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, 'console/access', { url });
    await page.getByText('No API keys yet.').waitFor();
    await button(page, 'New key…').click();
    await page.getByLabel('Name').fill('shop');
    await page.getByLabel('Role').selectOption('writer');
    await button(page, 'Create key').click();
    assert.match(await page.getByLabel('API key', { exact: true }).inputValue(), /^ord_/);
    await button(page, 'I have stored it').click();
    const row = page.locator('tbody tr', { hasText: 'shop' });
    assert.match(await row.textContent(), /Active.*shop.*orders:write.*never/);
    await button(page, 'Rotate shop').click();
    await button(page, 'Rotate key').click();
    assert.match(await page.getByLabel('API key', { exact: true }).inputValue(), /^ord_/);
    await button(page, 'I have stored it').click();
    await eventually('two keys', async () => (await row.count()) === 2);
    await button(page, 'Revoke shop').first().click();
    await button(page, 'Revoke key').click();
    await said(page, 'The key is revoked.');
    await row.filter({ hasText: 'Revoked' }).waitFor();
    await page.getByRole('link', { name: 'Audit log' }).click();
    await page.waitForURL(/access\/audit/);
    await eventually('the actions are listed', async () => {
      const actions = await page.locator('tbody code').allTextContents();
      return ['key.create', 'key.revoke'].every((action) => actions.includes(action));
    });
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: the system shows gateways, servers and settings'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const page = await visit(browser, 'console/system', { url: server.url, prepare: (blank) => useFixedApi(blank) });
    await page.locator('.settings tr', { hasText: 'database-url' }).waitFor();
    assert.match(await page.locator('.settings').textContent(), /mysql:\/\/orders:\*\*\*@db\/orders.*environment/);
    await page.getByLabel('Filter settings').fill('default');
    await eventually('one setting', async () => (await page.locator('.settings tbody tr').count()) === 1);
    await page.locator('tr', { hasText: 'gw77c0' }).waitFor();
    assert.deepEqual(page.trouble, []);
    return undefined;
  },

  async 'console: the scopes of the caller decide what is offered'(browser) {
    const { server, key } = await withKeys();
    if (!server) return SKIPPED;
    const { url } = server;
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
    const created = await fetch(new URL('api-keys', url), { method: 'POST', headers, body: JSON.stringify({ name: 'reader', role: 'reader' }) });
    const order = await fetch(new URL('orders', url), { method: 'POST', headers, body: JSON.stringify({ item: 'Tea', quantity: 1, price: 1, processAfter: '2099-01-01T00:00:00Z' }) });
    const { id } = await order.json();
    for (const [credential, isAdmin] of [[(await created.json()).key, false], [key, true]]) {
      const page = await visit(browser, 'login?next=/console/orders', { url });
      await page.getByLabel('API key').fill(credential);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.locator(`#row-${id}`).waitFor();
      for (const name of ['Webhooks', 'Access']) assert.equal(await page.locator('.side').getByRole('link', { name }).count(), isAdmin ? 1 : 0, name);
      await page.locator(`#row-${id}`).getByRole('checkbox').check();
      await page.getByText('1 selected').waitFor();
      assert.equal(await button(page, 'Cancel…').count(), isAdmin ? 1 : 0);
      await page.locator(`#row-${id} a`).click();
      await page.getByText('Waits for its time').waitFor();
      assert.equal(await button(page, 'Cancel order…').count(), isAdmin ? 1 : 0);
      await page.locator('.side').getByRole('link', { name: 'Queue' }).click();
      await page.getByText('What waits').waitFor();
      assert.equal(await button(page, 'Pause…').count(), isAdmin ? 1 : 0);
      if (!isAdmin) {
        await page.goto(new URL('console/access', url).href);
        await page.getByText('it needs the scope keys:manage').waitFor();
      }
      assert.deepEqual(page.trouble, []);
    }
    return undefined;
  },
};
