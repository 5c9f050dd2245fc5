// Accessibility and the content security policy of every page: contrast, reduced motion, announcements, no layout shifts.

import assert from 'node:assert/strict';
import {
  Server, completed, createOrder, createScheduled, eventually, isLive, row, said, statusOf, visit,
} from './harness.mjs';

const moving = (page) => page.evaluate(() => document.getAnimations().length);

/** Returns the strings whose contrast is below 4.5, or below 3 if they are large. */
export const lowContrast = (page) => page.evaluate(() => {
  const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  // Paints the colours over each other, the lowest first, and returns the luminance of the result.
  const luminance = (colors) => {
    for (const color of colors) {
      context.fillStyle = color;
      context.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('.unseen, title, script')) continue;
    const grounds = [];
    for (let each = element; each; each = each.parentElement) grounds.unshift(getComputedStyle(each).backgroundColor);
    const { color, fontSize, fontWeight } = getComputedStyle(element);
    const [low, high] = [luminance(['#fff', ...grounds]), luminance(['#fff', ...grounds, color])].sort((a, b) => a - b);
    const large = parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && fontWeight >= 700);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < (large ? 3 : 4.5)) found.push(`${walker.currentNode.data}: ${contrast.toFixed(2)}`);
  }
  return found;
});

export const accessibilityAndCsp = {
  async 'contrast is sufficient in light and dark'(browser) {
    const waiting = await createScheduled('Legible');
    await completed(await createOrder('Done'));
    for (const colorScheme of ['light', 'dark']) {
      const page = await visit(browser, `#/orders/${waiting}`, { colorScheme, reducedMotion: 'reduce' });
      await page.locator('.timeline').waitFor();
      await page.locator('.rows').waitFor();
      await isLive(page);
      await page.click('text=Create order');
      await page.locator('.field .error').first().waitFor();
      assert.deepEqual(await lowContrast(page), [], colorScheme);
      await page.context().setOffline(true);
      await page.locator('.banner').first().waitFor();
      assert.deepEqual(await lowContrast(page), [], `${colorScheme}, offline`);
      const customer = await visit(browser, `track/${waiting}`, { colorScheme, reducedMotion: 'reduce' });
      await customer.locator('.progress').waitFor();
      assert.deepEqual(await lowContrast(customer), [], `${colorScheme}, tracking`);
    }
  },

  async 'layout does not shift while a page loads'(browser) {
    // A separate server: orders of other checks would shift the list.
    const server = await Server.start();
    if (!server) return 'skipped: ORDERS_BIN is not set';
    const { url } = server;
    const id = await createOrder('Steady', { url });
    await completed(id, url);
    const prepare = (blank) => blank.addInitScript(() => {
      globalThis.shifted = 0;
      new PerformanceObserver((list) => {
        for (const shift of list.getEntries()) globalThis.shifted += shift.value;
      }).observe({ type: 'layout-shift', buffered: true });
    });
    for (const width of [360, 1280]) {
      for (const [path, loaded] of [['', '.rows'], [`track/${id}`, '.progress']]) {
        const page = await visit(browser, path, { url, viewport: { width, height: 860 }, prepare });
        await page.locator(loaded).waitFor();
        await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
        const shifted = await page.evaluate(() => globalThis.shifted);
        // The limit of Core Web Vitals.
        assert.ok(shifted < 0.1, `${shifted} at ${width} px of /${path}`);
      }
    }
    return undefined;
  },

  async 'reduced motion stops all animations'(browser) {
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

  async 'only the open order is announced'(browser) {
    const page = await visit(browser);
    await isLive(page);
    await page.evaluate(() => {
      globalThis.told = [];
      const region = document.querySelector('[aria-live=polite]');
      new MutationObserver(() => globalThis.told.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });
    });
    const other = await createOrder('Of another client');
    const id = await createOrder('Listened to');
    await row(page, id).click();
    await said(page, 'Order Listened to is completed.');
    await completed(other);
    const told = await page.evaluate(() => globalThis.told);
    // Other announcements can be the pause of another check.
    const ofOrders = new Set(told.join(' ').match(/Order [^.]*\./g));
    assert.ok(ofOrders.size <= 3, told.join(' | '));
    assert.doesNotMatch(told.join(), /Of another client/);
    assert.deepEqual(page.trouble, []);
  },

  async 'pages comply with the strict content security policy'(browser) {
    const id = await createOrder('Watched closely');
    await completed(id);
    for (const path of ['', `#/orders/${id}`, 'console/queue', 'console/orders', `console/orders/${id}`, 'console/webhooks', 'problems', `track/${id}`, 'track/unknown', 'graphiql', 'playground']) {
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
      const content = { 'console/queue': '.queue-state', 'console/orders': '.orders tbody tr', [`console/orders/${id}`]: '.timeline', 'console/webhooks': '.new-hook', problems: 'dl', graphiql: '.graphiql-container', playground: '.graphiql-wrapper' }[path] ?? '.rows, h1:has-text("Your order is"), h1:has-text("cannot")';
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
