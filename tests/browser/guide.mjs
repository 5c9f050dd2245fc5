// The guide: its pages, its search, and its contents on a small screen.

import assert from 'node:assert/strict';
import { base, fits, visit } from './harness.mjs';

const PAGES = ['', 'start/tutorial.html', 'reference/settings.html', 'internals/decisions/0002-lock-decide-write.html'];

export const guide = {
  async 'the guide fits the screen, in light and dark'(browser) {
    for (const width of [360, 1280]) {
      for (const colorScheme of ['light', 'dark']) {
        const page = await visit(browser, 'guide', { viewport: { width, height: 860 }, colorScheme });
        for (const path of PAGES) {
          await page.goto(new URL(`guide/${path}`, base).href);
          await page.locator('main h1').first().waitFor();
          await fits(page);
        }
        const dark = await page.evaluate(() => document.documentElement.classList.contains('coal'));
        assert.equal(dark, colorScheme === 'dark');
        assert.deepEqual(page.trouble, []);
      }
    }
  },

  async 'the guide is linked from the page, and its search finds a term'(browser) {
    const page = await visit(browser);
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Guide' }).click();
    await page.locator('main h1').first().waitFor();
    // Without its scripts, which are at the end of the page, the button does nothing.
    await page.waitForLoadState();
    await page.locator('#mdbook-search-toggle').click();
    await page.locator('#mdbook-searchbar').pressSequentially('dead letter');
    const result = page.locator('#mdbook-searchresults a', { hasText: 'Dead letters' }).first();
    await result.click();
    await page.waitForURL(/\/guide\/guides\/dead-letters\.html/);
    assert.match(await page.locator('main').textContent(), /redrive/);
    assert.deepEqual(page.trouble, []);
  },

  async 'the contents of the guide open on a small screen'(browser) {
    const page = await visit(browser, 'guide/', { viewport: { width: 360, height: 740 } });
    const link = page.locator('#mdbook-sidebar').getByRole('link', { name: 'Glossary' });
    await link.waitFor({ state: 'hidden' });
    await page.waitForLoadState();
    await page.locator('#mdbook-sidebar-toggle').click();
    await link.click();
    await page.waitForURL(/\/guide\/concepts\/glossary\.html/);
    assert.deepEqual(page.trouble, []);
  },
};
