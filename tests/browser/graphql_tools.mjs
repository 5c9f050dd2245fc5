// GraphQL Playground and GraphiQL: each runs its example query, mutation and subscription.

import assert from 'node:assert/strict';
import { completed, createOrder, eventually, visit } from './harness.mjs';

/** Runs the content of the editor as soon as it contains `text`. */
async function run(page, editor, text) {
  await page.locator(editor, { hasText: text }).first().click();
  await page.keyboard.press('Control+Enter');
}

/** Waits for `shown`, and returns whether it appeared before the timeout. */
const appears = (shown, timeout = 5_000) => shown.waitFor({ timeout }).then(() => true, () => false);

/** Runs the example query until it shows an order of this check: other checks can create ten newer ones meanwhile. */
const listsOrders = (page, editor, result) => eventually('the newest orders are listed', async () => {
  await createOrder('Listed');
  await run(page, editor, 'NewestOrders');
  return appears(page.locator(result, { hasText: 'Listed' }).first());
});

/** Creates orders until one of them appears: the page does not show when a subscription has started. */
const seesNewOrders = (page, result) => eventually('a new order arrives at the subscription', async () => {
  const id = await createOrder('Watched');
  return appears(page.locator(result, { hasText: id }).first());
});

/** Checks the result of the example mutation, and waits until its order is completed. */
async function created(page, result) {
  const pane = page.locator(result, { hasText: /"createOrder"[^]*"id"/ }).last();
  const text = await pane.textContent();
  assert.match(text, /"status": "PENDING"[^]*"total": "2599.98"[^]*"userErrors": \[\]/);
  return completed(/"id": "([\w-]+)"/.exec(text)[1]);
}

/** Records whether a websocket uses this subprotocol: each has another name for the first message of a subscription. */
function subscribes(page, word) {
  const seen = { subscribed: false };
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
    seen.subscribed ||= String(payload).includes(`"type":"${word}"`);
  }));
  return seen;
}

export const graphqlTools = {
  async 'GraphQL Playground runs a query, a mutation and a subscription'(browser) {
    const page = await visit(browser, 'playground');
    const legacy = subscribes(page, 'start');
    // The class names are generated, except that of the active tab, where the query is before the results.
    const editor = '.graphiql-wrapper.active .CodeMirror-lines';
    const result = '.graphiql-wrapper.active .CodeMirror-wrap';
    await listsOrders(page, editor, result);
    await page.locator('text=Create').first().click();
    await run(page, editor, 'CreateOrder');
    await created(page, result);
    await page.locator('text=Watch').first().click();
    await run(page, editor, 'Changes');
    await seesNewOrders(page, result);
    assert.ok(legacy.subscribed, 'over the legacy subprotocol');
    assert.deepEqual(page.trouble, []);
  },

  async 'GraphiQL runs a query, a mutation and a subscription'(browser) {
    const page = await visit(browser, 'graphiql');
    const modern = subscribes(page, 'subscribe');
    const editor = '.graphiql-query-editor .CodeMirror-lines';
    const result = '.result-window';
    await listsOrders(page, editor, result);
    await page.locator('.graphiql-tab', { hasText: 'CreateOrder' }).click();
    // GraphiQL selects another operation with a delay; until then the server rejects the request.
    await eventually('the order is created', async () => {
      await run(page, editor, 'CreateOrder');
      return appears(page.locator(result, { hasText: '"createOrder"' }), 2_000);
    });
    await created(page, result);
    await page.locator('.graphiql-tab', { hasText: 'Changes' }).click();
    await eventually('the subscription is sent over the modern subprotocol', async () => {
      // A second run would stop the subscription, so this waits for the first one.
      if (!modern.subscribed) await run(page, editor, 'Changes');
      for (let i = 0; i < 30 && !modern.subscribed; i++) await page.waitForTimeout(100);
      return modern.subscribed;
    });
    await seesNewOrders(page, result);
    assert.deepEqual(page.trouble, []);
  },
};
