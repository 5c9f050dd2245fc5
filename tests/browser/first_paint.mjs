// Measures when the pages are painted, with many orders in the database:
//
//   ORDERS_BIN=target/release/orders node tests/browser/first_paint.mjs [ORDERS]
//
// Prints for each page the fastest, the median and the slowest of its visits in milliseconds: of a browser that knows no file of
// the server, and of one that was there before. `paint` is the first contentful paint, `content` the moment at which the page
// shows its data.

import { Server, launch, run, visit } from './harness.mjs';

const ORDERS = Number(process.argv[2] ?? 100_000);
const VISITS = 7;
/** Orders of one request. */
const BULK = 500;
const AT_ONCE = 4;
/** The pages, and what shows that their data is there. */
const PAGES = [
  ['console', '.chart'], ['console/orders', '.orders tbody tr'], ['console/orders?q=status%3Acompleted', '.orders tbody tr'],
  ['console/dead-letters', '.group, .none-left'], ['console/workers', '.workers'], ['console/queue', '.queue-state'],
  ['', '.rows li'], ['docs', '.operation'], ['problems', 'dl'], ['guide/', 'main h1'],
];

const bodyOf = (n) => ({
  lineItems: [{ item: `Coffee beans no. ${n % 40}`, quantity: 1 + (n % 3), price: '18.90' }], currency: 'EUR', customer: `customer-${n % 5_000}@example.com`, externalReference: `WEB-${n}`,
});

async function fill(url) {
  const starts = Array.from({ length: Math.ceil(ORDERS / BULK) }, (_, n) => n * BULK);
  const worker = async () => {
    for (let first = starts.pop(); first !== undefined; first = starts.pop()) {
      const body = JSON.stringify(Array.from({ length: Math.min(BULK, ORDERS - first) }, (_, n) => bodyOf(first + n)));
      const response = await fetch(new URL('orders/bulk', url), { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
      await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function times(page, shown) {
  await page.locator(shown).first().waitFor();
  return page.evaluate(() => [performance.getEntriesByName('first-contentful-paint')[0]?.startTime, performance.now()]);
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const summary = (values) => [0, Math.floor(values.length / 2), values.length - 1].map((n) => Math.round(sorted(values)[n])).join(' / ').padStart(18);

async function measure(browser) {
  const server = await Server.start('--simulate-min-delay', '0', '--simulate-max-delay', '1ms');
  const { url } = server;
  const begin = Date.now();
  await fill(url);
  console.log(`${ORDERS} orders in ${Math.round((Date.now() - begin) / 1_000)} s`);
  // The measurement begins when the processor has nothing left to do.
  for (let left = -1; left !== 0;) {
    left = (await (await fetch(new URL('queue', url))).json()).length;
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
  console.log(`${'fastest / median / slowest, ms'.padEnd(36)}${['paint, first', 'content', 'paint, again', 'content'].map((name) => name.padStart(19)).join('')}`);
  for (const [path, shown] of PAGES) {
    const found = { first: [], again: [] };
    for (let n = 0; n < VISITS; n += 1) {
      const page = await visit(browser, path, { url });
      found.first.push(await times(page, shown));
      await page.goto('about:blank');
      await page.goto(new URL(path, url).href);
      found.again.push(await times(page, shown));
      await page.context().close();
    }
    const columns = ['first', 'again'].flatMap((kind) => [0, 1].map((n) => summary(found[kind].map((each) => each[n]))));
    console.log(`/${path}`.padEnd(36) + columns.map((text) => ` ${text}`).join(''));
  }
}

const browser = await launch();
try {
  await run(measure, browser);
} finally {
  await browser.close();
}
