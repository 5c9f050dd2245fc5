// What every page owes its visitors: no movement for those who do not want it, words for those who cannot see it, and
// a strict policy.

import assert from 'node:assert/strict';
import { completed, createOrder, createScheduled, eventually, isLive, row, said, statusOf, visit } from './harness.mjs';

const moving = (page) => page.evaluate(() => document.getAnimations().length);

export const care = {
  async 'nothing moves for those who prefer that'(browser) {
    const waiting = await createScheduled('Patient');
    for (const [reducedMotion, moves] of [['no-preference', true], ['reduce', false]]) {
      const page = await visit(browser, `#/orders/${waiting}`, { reducedMotion });
      await isLive(page);
      await page.locator('.timeline .going').waitFor();
      const id = await createOrder('Moving');
      await page.locator(`.rows li[data-lit]`, { has: row(page, id) }).waitFor();
      assert.equal((await moving(page)) > 0, moves, reducedMotion);
      await eventually('it is completed', async () => (await statusOf(page, id)) === 'Completed');
      assert.equal((await moving(page)) > 0, moves, reducedMotion);
      const customer = await visit(browser, `track/${waiting}`, { reducedMotion });
      await customer.locator('.progress').waitFor();
      assert.equal((await moving(customer)) > 0, moves, reducedMotion);
      assert.deepEqual([...page.trouble, ...customer.trouble], []);
    }
  },

  async 'the open order is read out, those of others are not'(browser) {
    const page = await visit(browser);
    await isLive(page);
    await page.evaluate(() => {
      globalThis.told = [];
      const region = document.querySelector('[aria-live=polite]');
      new MutationObserver(() => globalThis.told.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });
    });
    const other = await createOrder('Of somebody else');
    const id = await createOrder('Listened to');
    await row(page, id).click();
    await said(page, 'Order Listened to is completed.');
    await completed(other);
    const told = await page.evaluate(() => globalThis.told);
    assert.ok(told.length <= 3, told.join(' | '));
    assert.doesNotMatch(told.join(), /Of somebody else/);
    assert.deepEqual(page.trouble, []);
  },

  async 'no page needs an exception from a strict policy'(browser) {
    const id = await createOrder('Watched closely');
    await completed(id);
    for (const path of ['', `#/orders/${id}`, `track/${id}`, 'track/unknown', 'graphiql', 'playground']) {
      let policy = '';
      const prepare = async (blank) => {
        blank.on('response', (response) => {
          if (response.request().resourceType() === 'document') policy = response.headers()['content-security-policy'];
        });
        await blank.addInitScript(() => {
          globalThis.violations = [];
          document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => globalThis.violations.push(`${violatedDirective} ${blockedURI}`));
        });
      };
      const page = await visit(browser, path, { prepare });
      const content = { graphiql: '.graphiql-container', playground: '.graphiql-wrapper' }[path] ?? '.rows, h1:has-text("Your order is"), h1:has-text("cannot")';
      await page.locator(content).first().waitFor();
      assert.match(policy, /^default-src 'none';/, path);
      assert.doesNotMatch(policy, /unsafe|https?:|\*/, path);
      assert.deepEqual(await page.evaluate(() => globalThis.violations), [], path);
      assert.deepEqual(page.trouble, [], path);
      if (path === 'graphiql' || path === 'playground') continue;
      const inline = '[style], style, script:not([src]), [onclick], [onload], [onerror]';
      assert.equal(await page.locator(inline).count(), 0, `${path}: ${inline}`);
    }
  },
};
