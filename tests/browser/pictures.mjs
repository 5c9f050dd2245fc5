// Takes a picture of every view of the console and of the pages beside it, to look at before a change of the design is committed:
//
//   ORDERS_BIN=target/debug/orders node tests/browser/pictures.mjs FOLDER [NAME]
//
// FOLDER gets `<width>-<scheme>-<place>.png`. With NAME, only places whose names contain it.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { furnished, pages, places, prepared } from './console_places.mjs';
import { launch, run, visit } from './harness.mjs';

const [folder, wanted = ''] = process.argv.slice(2);
const SIZES = [[360, 740], [1280, 800], [1920, 1080]];
/** The places that use the whole of a wide screen. */
const WIDE = ['overview', 'orders', 'an order, failed', 'webhooks'];

async function take(browser) {
  const ids = await furnished();
  await mkdir(folder, { recursive: true });
  let number = 0;
  for (const [width, height] of SIZES) {
    for (const colorScheme of ['light', 'dark']) {
      for (const [list, prepare] of [[places, prepared], [pages, undefined]]) {
        const page = await visit(browser, 'console', { url: ids.url, viewport: { width, height }, colorScheme, reducedMotion: 'reduce', ...(prepare && { prepare }) });
        for (const { name, path, open } of list(ids)) {
          if (!name.includes(wanted) || (width > 1_300 && !WIDE.includes(name))) continue;
          await page.goto('about:blank');
          await page.goto(new URL(path, ids.url).href);
          await open(page).catch((error) => console.error(`${name} at ${width} px: ${error.message.split('\n')[0]}`));
          await page.screenshot({ path: join(folder, `${width}-${colorScheme}-${name.replaceAll(/\W+/g, '-')}.png`) });
          number += 1;
        }
        await page.context().close();
      }
    }
  }
  return `${number} pictures`;
}

const browser = await launch();
try {
  console.log(await run(take, browser));
} finally {
  await browser.close();
}
