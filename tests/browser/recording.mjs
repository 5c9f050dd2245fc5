// Records two minutes of the console for the README, and takes its pictures:
//
//   ORDERS_BIN=target/debug/orders node tests/browser/recording.mjs .github/recording.webp docs/images
//
// Before the first frame the shop runs for some minutes (WARM_SECONDS), with an outage of its carrier, so that there is something
// to see. FRAMES, if set, is a folder that gets some frames as PNG files, to look at.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { animation, openEncoder, still } from './animation.mjs';
import { openShop, trade } from './demo_shop.mjs';
import { eventually, isLive, launch, run, visit } from './harness.mjs';

const SECONDS = 120;
const WARM_SECONDS = Number(process.env.WARM_SECONDS ?? 420);
const VIEWPORT = { width: 1280, height: 800 };
const SCALE = 0.75;
const SIZE = { width: VIEWPORT.width * SCALE, height: VIEWPORT.height * SCALE };
const QUALITY = 0.6;
const STILL_QUALITY = 0.8;
/** The maximum number of frames in a second. */
const RATE = 3;
const ORDERS_PER_SECOND = 4;

const sleep = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1_000); });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const view = (page, name) => page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: new RegExp(`^${name}\\b`) });

/** An arrow where the pointer is, because screenshots have none. It is above dialogs. */
const showPointer = (page) => page.addInitScript(() => {
  addEventListener('DOMContentLoaded', () => {
    const arrow = document.createElement('div');
    arrow.popover = 'manual';
    arrow.innerHTML = '<svg width="18" height="22" viewBox="0 0 16 20"><path d="M1 1v15l4-4 3 7 3-1-3-7h6z" fill="#111" stroke="#fff" stroke-width="1.3" stroke-linejoin="round"/></svg>';
    Object.assign(arrow.style, { position: 'fixed', inset: 'auto', margin: 0, padding: 0, border: 0, background: 'none', overflow: 'visible', pointerEvents: 'none' });
    document.body.append(arrow);
    addEventListener('mousemove', ({ clientX, clientY }) => {
      if (arrow.matches(':popover-open')) arrow.hidePopover();
      arrow.showPopover();
      Object.assign(arrow.style, { left: `${clientX}px`, top: `${clientY}px` });
    }, true);
  });
});

/** Runs the shop before the recording: good times, an outage, and the recovery. */
async function warmUp({ url, carrier }) {
  const trading = trade(url, { seconds: WARM_SECONDS, rate: ORDERS_PER_SECOND, seed: 1 });
  await sleep(WARM_SECONDS * 0.35);
  carrier.isOut = true;
  await sleep(WARM_SECONDS * 0.2);
  carrier.isOut = false;
  await trading;
}

/** What an operator does in the two minutes. */
async function tour(page, { carrier }) {
  const see = (seconds) => sleep(seconds * 1.15);
  const click = async (locator) => {
    await locator.hover();
    await sleep(0.7);
    await locator.click();
  };
  const type = (locator, text) => locator.pressSequentially(text, { delay: 45 });
  // The overview, and a failure that arrives.
  await see(8);
  carrier.isOut = true;
  await see(18);
  await click(page.getByRole('link', { name: /^Failed/ }));
  // Dead letters by group, and their redrive: first the number, then the reason and the rate.
  await see(5);
  await click(button(page, 'Redrive…').first());
  await page.getByText('failed orders match').waitFor();
  await see(2);
  await type(page.getByLabel('Why are they tried again?'), 'the label service is back');
  await type(page.getByLabel('Starts per second'), '20');
  carrier.isOut = false;
  await see(1.5);
  await click(page.getByRole('button', { name: /^Redrive \d/ }));
  await page.getByText(/\d of \d+ redriven/).waitFor();
  await see(3);
  await click(button(page, 'Close').last());
  await see(4);
  // Search, and the timeline of one order.
  await click(view(page, 'Orders'));
  await see(3);
  await page.keyboard.press('/');
  await type(page.locator('#search'), 'customer:ann since:1h');
  await page.keyboard.press('Enter');
  await see(4);
  await click(page.locator('.orders tbody tr').nth(2).locator('.c-order'));
  await page.locator('.order-panel .timeline').waitFor();
  await see(5);
  await click(page.getByRole('link', { name: 'Orders with this error' }).or(page.getByText('Raw JSON')).first());
  await see(4);
  // The workers, and what one of them does.
  await click(view(page, 'Workers'));
  await see(4);
  await click(page.locator('.workers tbody tr').first().locator('a'));
  await see(6);
  // A pause, and what waits meanwhile.
  await click(view(page, 'Queue'));
  await see(3);
  await click(button(page, 'Pause…'));
  await type(page.getByLabel('Reason'), 'stocktaking');
  await see(1.5);
  await click(button(page, 'Pause'));
  await see(7);
  await click(button(page, 'Resume…'));
  await see(1.5);
  await click(button(page, 'Resume'));
  await see(4);
  await click(view(page, 'Overview'));
  await see(2);
  await click(page.getByRole('link', { name: '15 min' }));
}

/** The pictures of the README: a name, a path, what is opened, in light and dark. */
const STILLS = [
  ['console-overview', 'console?window=15m', (page) => page.locator('.chart').first().waitFor()],
  ['console-dead-letters', 'console/dead-letters', async (page) => { await button(page, 'Redrive…').first().click(); await page.getByText('failed orders match').waitFor(); }],
  ['console-order', 'console/orders?q=status%3Afailed', async (page) => { await page.locator('.orders tbody tr .c-order a').nth(1).click(); await page.locator('.order-panel .timeline').waitFor(); }],
];

async function takeStills(browser, url, folder) {
  for (const colorScheme of ['light', 'dark']) {
    const page = await visit(browser, 'console', { url, viewport: VIEWPORT, colorScheme, reducedMotion: 'reduce' });
    for (const [name, path, open] of STILLS) {
      await page.goto(new URL(path, url).href);
      await isLive(page);
      await open(page);
      await eventually('everything is read', async () => !/Reading |Counting/.test(await page.locator('#app').textContent()));
      await page.evaluate(() => document.activeElement?.blur());
      await writeFile(join(folder, `${name}-${colorScheme}.webp`), await still(browser, await page.screenshot(), STILL_QUALITY));
    }
    await page.context().close();
  }
}

async function record(browser) {
  const [path, folder] = process.argv.slice(2);
  const shop = await openShop();
  await warmUp(shop);
  trade(shop.url, { seconds: SECONDS + 20, rate: ORDERS_PER_SECOND, seed: 2 });
  if (folder) {
    await mkdir(folder, { recursive: true });
    await takeStills(browser, shop.url, folder);
  }
  const page = await visit(browser, 'console?window=15m', { url: shop.url, viewport: VIEWPORT, deviceScaleFactor: SCALE, prepare: showPointer });
  await isLive(page);
  await page.locator('.chart').first().waitFor();
  const encode = await openEncoder(browser, SIZE, QUALITY);
  const begin = Date.now();
  const end = begin + SECONDS * 1_000;
  const frames = [];
  const film = async () => {
    while (Date.now() < end) {
      const at = Date.now();
      const png = await page.screenshot();
      const frame = await encode(png);
      if (frame) frames.push({ ...frame, at });
      if (process.env.FRAMES && frames.length % 8 === 1) await writeFile(join(process.env.FRAMES, `${String(Math.round((at - begin) / 1_000)).padStart(3, '0')}.png`), png);
      await sleep(Math.max(0, (at + 1_000 / RATE - Date.now()) / 1_000));
    }
  };
  const took = async () => { await tour(page, shop); return `the tour took ${Math.round((Date.now() - begin) / 1_000)} s`; };
  const [words] = await Promise.all([took(), film()]);
  frames.forEach((frame, n) => { frame.ms = (frames[n + 1]?.at ?? end + 2_000) - frame.at; });
  const file = animation(frames, SIZE);
  await writeFile(path, file);
  return `${frames.length} frames, ${Math.round(file.length / 1024)} KiB, ${words}`;
}

const browser = await launch();
try {
  console.log(await run(record, browser));
} finally {
  await browser.close();
}
