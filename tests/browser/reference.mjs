// The REST reference at /docs.

import assert from 'node:assert/strict';
import { lowContrast } from './accessibility_and_csp.mjs';
import { base, completed, createOrder, eventually, fits, visit } from './harness.mjs';

export const reference = {
  async 'the REST reference has every operation and sends requests'(browser) {
    const api = await (await fetch(new URL('openapi.json', base))).json();
    const ids = Object.values(api.paths).flatMap((item) => Object.values(item).map(({ operationId }) => operationId)).filter(Boolean);
    const page = await visit(browser, 'docs#getOrder');
    await eventually('every operation is shown', async () => (await page.locator('.operation').count()) === ids.length);
    await eventually('the one of the address is in sight', () => page.locator('#getOrder').evaluate((element) => Math.abs(element.getBoundingClientRect().top) < innerHeight / 2));
    const id = await createOrder('Documented');
    await completed(id);
    const operation = page.locator('#getOrder');
    await operation.getByText('Try it').click();
    await operation.getByRole('textbox', { name: 'id' }).fill(id);
    await operation.getByRole('button', { name: 'Send GET' }).click();
    await operation.locator('.answer', { hasText: '200' }).waitFor();
    assert.match(await operation.locator('.answer pre').last().textContent(), /"status": "completed"/);
    const create = page.locator('#createOrder');
    await create.getByText('Try it').click();
    await create.getByRole('textbox', { name: 'Body' }).fill('{"item": "Tried", "quantity": 0, "price": 1}');
    await create.getByRole('button', { name: 'Send POST' }).click();
    await create.locator('.answer', { hasText: '422' }).waitFor();
    await create.locator('summary', { hasText: 'NewOrder' }).click();
    await create.locator('.members dt', { hasText: 'quantity' }).first().waitFor();
    await page.getByLabel('Filter operations').fill('post redrive');
    await eventually('two operations match', async () => (await page.locator('.operation').count()) === 2);
    assert.deepEqual(page.trouble.filter((line) => !/status of 422/.test(line)), []);
  },

  async 'the REST reference fits, is legible and complies with the policy'(browser) {
    for (const [width, colorScheme] of [[360, 'dark'], [1280, 'light']]) {
      const page = await visit(browser, 'docs', { viewport: { width, height: 800 }, colorScheme });
      await page.locator('.operation').first().waitFor();
      await page.locator('details').evaluateAll((all) => all.forEach((each) => { each.open = true; }));
      await fits(page);
      assert.deepEqual(await lowContrast(page), []);
      assert.equal(await page.locator('[style], style, script:not([src])').count(), 0);
      assert.deepEqual(page.trouble, []);
    }
  },
};
