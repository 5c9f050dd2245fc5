// Checks the pages of a running gateway in a real browser, at BASE_URL. One line for each check; exit code 1 when one fails.
// The processor must be running as well, and its handler must complete orders.
// FAILED_ORDER_ID, when set, names a failed order to redrive.

import { launch } from './harness.mjs';
import { orders } from './orders.mjs';
import { outages } from './outages.mjs';
import { tools } from './tools.mjs';

const wanted = process.argv[2];
const browser = await launch();
let failed = 0;
for (const [name, check] of Object.entries({ ...orders, ...outages, ...tools })) {
  if (wanted && !name.includes(wanted)) continue;
  const begin = Date.now();
  try {
    const note = await check(browser);
    console.log(`ok      ${name}${note ? ` (${note})` : ''} ${Date.now() - begin} ms`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.stack}`);
  }
  await Promise.all(browser.contexts().map((context) => context.close()));
}
await browser.close();
process.exitCode = failed > 0 ? 1 : 0;
