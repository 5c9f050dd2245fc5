// GraphQL Playground and GraphiQL: each runs its example query, mutation and subscription.

import assert from 'node:assert/strict';
import { completed, createOrder, eventually, visit } from './harness.mjs';

/** Runs what stands in the editor, as soon as that has `text`. */
async function run(page, editor, text) {
  await page.locator(editor, { hasText: text }).first().click();
  await page.keyboard.press('Control+Enter');
}

/** Whether `shown` appears within a while; what is not there by then is asked for again. */
const appears = (shown, timeout = 5_000) => shown.waitFor({ timeout }).then(() => true, () => false);

/** Runs the example query until it shows an order of ours: others may have made ten newer ones meanwhile. */
const listsOrders = (page, editor, result) => eventually('the newest orders are listed', async () => {
  await createOrder('Listed');
  await run(page, editor, 'NewestOrders');
  return appears(page.locator(result, { hasText: 'Listed' }).first());
});

/** Creates orders until one of them appears: nobody can tell when a subscription has begun. */
const seesNewOrders = (page, result) => eventually('a new order arrives at the subscription', async () => {
  const id = await createOrder('Watched');
  return appears(page.locator(result, { hasText: id }).first());
});

/** The order that the result of the example mutation shows; it is there, and gets completed. */
async function created(page, result) {
  const pane = page.locator(result, { hasText: /"createOrder"[^]*"id"/ }).last();
  const text = await pane.textContent();
  assert.match(text, /"status": "PENDING"[^]*"total": "2599.98"[^]*"userErrors": \[\]/);
  return completed(/"id": "([\w-]+)"/.exec(text)[1]);
}

/** Whether a websocket spoke this subprotocol: each names its first message of a subscription differently. */
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
    // Its class names are generated, but for the pane of the active tab: the query comes before the results.
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
    // GraphiQL takes a moment to see that another operation is to be run: until then the server refuses it.
    await eventually('the order is created', async () => {
      await run(page, editor, 'CreateOrder');
      return appears(page.locator(result, { hasText: '"createOrder"' }), 2_000);
    });
    await created(page, result);
    await page.locator('.graphiql-tab', { hasText: 'Changes' }).click();
    await eventually('the subscription is sent over the modern subprotocol', async () => {
      // To run it a second time would stop it, so the first one gets its time.
      if (!modern.subscribed) await run(page, editor, 'Changes');
      for (let i = 0; i < 30 && !modern.subscribed; i++) await page.waitForTimeout(100);
      return modern.subscribed;
    });
    await seesNewOrders(page, result);
    assert.deepEqual(page.trouble, []);
  },
};
