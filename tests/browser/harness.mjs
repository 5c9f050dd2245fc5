// The harness of the checks: a browser, a connection that can be cut, the API, and waits with a deadline.

import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/** Timeout of every wait; it is long, because only a failure reaches it. */
const DEADLINE_MS = 60_000;

export const base = new URL(process.env.BASE_URL ?? 'http://127.0.0.1:3000');

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
});

/** The functions that stop what the running check has started. */
const leftovers = new AsyncLocalStorage();
export const stopLater = (stop) => leftovers.getStore().push(stop);

/** Runs one check, and stops what it has started, also if it fails. */
export const run = (check, browser) => leftovers.run([], async () => {
  try {
    return await check(browser);
  } finally {
    // Pages are closed first: without their server they would report errors.
    for (const stop of leftovers.getStore()) await stop();
  }
});

/** Calls `probe` until it returns a truthy value, and returns it. */
export async function eventually(what, probe) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < end, `timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Opens a page. `page.trouble` collects errors and warnings of the browser, and requests to other hosts. `prepare` gets
 * the page before it loads.
 */
export async function visit(browser, path = '', { url = base, prepare = () => {}, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-US', ...options });
  leftovers.getStore().unshift(() => context.close());
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.trouble = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.trouble.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => page.trouble.push(`script: ${error.message}`));
  const own = new Set([url.host]);
  const foreign = (address) => {
    const { protocol, host } = new URL(address);
    if (!['data:', 'blob:'].includes(protocol) && !own.has(host)) page.trouble.push(`foreign host: ${address}`);
  };
  page.on('request', (request) => foreign(request.url()));
  page.on('websocket', (socket) => foreign(socket.url()));
  // Each announcement replaces the last one, so a check that polls would miss some.
  await page.addInitScript(() => {
    globalThis.announced = [];
    new MutationObserver(() => {
      const text = document.getElementById('announcer')?.textContent;
      if (text && text !== globalThis.announced.at(-1)) globalThis.announced.push(text);
    }).observe(document, { childList: true, characterData: true, subtree: true });
  });
  await prepare(page);
  await page.goto(new URL(path, url).href);
  return page;
}

/** The list and the timeline as visitors see them. */
export const row = (page, id) => page.locator(`#row-${id}`);
export const isLive = (page) => page.locator('.connection.live').waitFor();
export const statusOf = (page, id) => row(page, id).locator('.pill').textContent();
export const steps = (page) => page.locator('.timeline .step b').allTextContents();

/** Waits for an announcement of the live region since the page was loaded. */
export const said = (page, text) => eventually(`"${text}" is announced`, () =>
  page.evaluate((wanted) => globalThis.announced.some((words) => words.includes(wanted)), text));

/** Checks that the page needs no horizontal scrolling. */
export const fits = async (page) => {
  const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= screen, `${content} px of content on ${screen} px`);
};

export async function graphql(query, variables, url = base) {
  const response = await fetch(new URL('graphql', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.ok(!errors, JSON.stringify(errors));
  return data;
}

/** Creates an order without the page; returns its id. */
export async function createOrder(item, { url = base, ...more } = {}) {
  const { createOrder: { order, userErrors } } = await graphql(
    'mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { message } } }',
    { input: { item, quantity: 1, price: '9.50', ...more } },
    url,
  );
  assert.deepEqual(userErrors, []);
  return order.id;
}

/** Creates an order that is not started. */
export const createScheduled = (item, more) => createOrder(item, { processAfter: '2099-01-01T00:00:00Z', ...more });

export const cancelOrder = (id, url) => graphql(
  'mutation ($id: ID!) { cancelOrder(input: { orderId: $id, reason: "cancelled by a test" }) { userErrors { message } } }', { id }, url);

/** Waits until an order is completed; returns the number of its events. */
export const completed = (id, url = base) => eventually(`order ${id} is completed`, async () => {
  const { order } = await graphql('query ($id: ID!) { order(id: $id) { status sequence } }', { id }, url);
  return order.status === 'COMPLETED' && order.sequence;
});

/** A TCP proxy to the server on a separate port, which can be cut, frozen and restored. */
export class Line {
  #sockets = new Set();
  #frozen = false;
  #server = net.createServer((near) => {
    const far = net.connect(Number(base.port || 80), base.hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      this.#sockets.add(from);
      from.on('data', (bytes) => { if (!this.#frozen) to.write(bytes); });
      from.on('error', () => {});
      from.on('close', () => { to.destroy(); this.#sockets.delete(from); });
    }
  });

  async open() {
    stopLater(() => (this.#server.listening ? this.cut() : undefined));
    await this.#listen(0);
    return this;
  }

  #listen(port) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject).listen(port, '127.0.0.1', () => {
        this.url ??= new URL(`http://127.0.0.1:${this.#server.address().port}/`);
        resolve();
      });
    });
  }

  /** Acts as a stopped server: closes connections, and refuses new ones. */
  cut() {
    return new Promise((resolve) => {
      this.#server.close(resolve);
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  /** Acts as a network that drops all packets. */
  freeze() { this.#frozen = true; }

  async restore() {
    this.#frozen = false;
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) await this.#listen(Number(this.url.port));
  }
}

/** A separate `orders dev`, which can be killed and restarted at the same address with the same orders. */
export class Server {
  #args;
  #child;
  #folder;

  /** Starts a server; returns null if ORDERS_BIN, the program to start, is not set. */
  static async start(...args) {
    if (!process.env.ORDERS_BIN) return null;
    const server = new Server();
    stopLater(() => server.stop());
    server.#args = args;
    server.#folder = await mkdtemp(join(tmpdir(), 'orders-browser-'));
    await server.#start();
    return server;
  }

  /** Starts the server again, with other arguments if there are any. */
  async restart(...args) {
    if (args.length > 0) this.#args = args;
    await this.#start();
  }

  async #start() {
    const address = this.url?.host ?? '127.0.0.1:0';
    const args = ['dev', '--http-addr', address, '--grpc-addr', '127.0.0.1:0', '--data-dir', this.#folder, ...this.#args];
    // The kernel kills the server when this program ends.
    const bound = ['--pdeathsig', 'KILL', process.env.ORDERS_BIN, ...args];
    this.#child = spawn('setpriv', bound, { stdio: ['ignore', 'pipe', 'ignore'] });
    for await (const line of createInterface({ input: this.#child.stdout })) {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (found) {
        this.url = new URL(found[0]);
        break;
      }
    }
    this.#child.stdout.resume();
    await eventually('the server is ready', async () => (await fetch(new URL('readyz', this.url)).catch(() => null))?.ok);
  }

  /** Acts as a power failure. */
  kill() { return this.#end('SIGKILL'); }

  /** Asks the server to end, and waits until it has. */
  end() { return this.#end('SIGTERM'); }

  async #end(signal) {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill(signal);
    await gone;
  }

  async stop() {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Starts a server with keys; returns it with the key of an admin. */
export async function withKeys() {
  const server = await Server.start();
  if (!server) return {};
  const response = await fetch(new URL('api-keys', server.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'browser', role: 'admin', allTenants: true }),
  });
  const { key } = await response.json();
  assert.match(key, /^ord_/);
  await server.kill();
  await server.restart('--auth', 'keys');
  return { server, key };
}
