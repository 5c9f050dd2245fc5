// Checks the pages of a running gateway in a real browser, at BASE_URL. Prints one line for each check; exit code 1 if one fails.
// The processor must be running as well, and its handler must complete orders.
// FAILED_ORDER_ID, if set, is a failed order to show, and REDRIVEN_ORDER_ID another one to redrive. ORDERS_BIN is the program
// for checks that need a separate server.

import { accessibilityAndCsp } from './accessibility_and_csp.mjs';
import { consoleActions } from './console_actions.mjs';
import { consoleAxe } from './console_axe.mjs';
import { consoleColumns } from './console_columns.mjs';
import { consoleDesign } from './console_design.mjs';
import { consoleOrderData } from './console_order_data.mjs';
import { consoleOrders } from './console_orders.mjs';
import { consoleViews } from './console_views.mjs';
import { drill } from './drill.mjs';
import { statusCounts } from './status_counts.mjs';
import { guide } from './guide.mjs';
import { launch, run } from './harness.mjs';
import { orders } from './orders.mjs';
import { outages } from './outages.mjs';
import { graphqlTools } from './graphql_tools.mjs';
import { reference } from './reference.mjs';
import { sessions } from './sessions.mjs';
import { tracking } from './tracking.mjs';
import { webhooks } from './webhooks.mjs';

const wanted = process.argv[2];
const browser = await launch();
let failed = 0;

async function runAll(checks) {
  for (const [name, check] of Object.entries(checks)) {
    if (wanted && !name.includes(wanted)) continue;
    const begin = Date.now();
    try {
      const note = await run(check, browser);
      console.log(`ok      ${name}${note ? ` (${note})` : ''} ${Date.now() - begin} ms`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error.stack}`);
    }
  }
}

// Three at a time, because most checks mostly wait. Checks that count all orders have a separate server.
await Promise.all([{ ...tracking, ...accessibilityAndCsp, ...consoleOrders, ...consoleAxe }, { ...orders, ...graphqlTools, ...webhooks, ...consoleDesign, ...consoleActions }, { ...outages, ...statusCounts, ...consoleColumns, ...consoleOrderData, ...guide, ...reference, ...sessions, ...consoleViews, ...drill }].map(runAll));
await browser.close();
process.exitCode = failed > 0 ? 1 : 0;
