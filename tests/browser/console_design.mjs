// The look of the console and of the header: widths, contrast, the content security policy, themes, files and first paint.

import assert from 'node:assert/strict';
import { lowContrast } from './accessibility_and_csp.mjs';
import { useFixedApi } from './console_api.mjs';
import { Server, createScheduled, eventually, fits, isLive, visit } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';
const VIEWS = ['', '/orders', '/dead-letters', '/workers', '/workers/packer-1', '/queue', '/events', '/webhooks', '/access', '/access/audit', '/system'];

/** Headings, names of controls and landmarks that a screen reader needs; returns what is missing. */
const unnamed = (page) => page.evaluate(() => {
  const name = (element) => (element.getAttribute('aria-label') ?? '').trim() || element.textContent.trim() || element.title
    || [...(element.labels ?? [])].map((label) => label.textContent.trim()).join() || document.getElementById(element.getAttribute('aria-labelledby'))?.textContent;
  const found = [...document.querySelectorAll('a[href], button, input, select, summary, [role=img]')].filter((element) => element.checkVisibility() && !name(element)).map((element) => element.outerHTML.slice(0, 80));
  if (document.querySelectorAll('h1').length !== 1) found.push('h1');
  if (document.querySelectorAll('main').length !== 1) found.push('main');
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  return [...found, ...ids.filter((id, n) => ids.indexOf(id) !== n)];
});

export const consoleDesign = {
  async 'console: every view fits, is legible and complies with the policy'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const id = await createScheduled('A rather long name of an item that does not fit into one line of a phone', { url, customer: 'ann.with.a.long.name@department.example.com' });
    for (const [width, colorScheme] of [[360, 'light'], [1280, 'dark'], [768, 'dark'], [1920, 'light']]) {
      const prepare = async (blank) => {
        await useFixedApi(blank);
        await blank.addInitScript(() => {
          globalThis.violations = [];
          document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => globalThis.violations.push(`${violatedDirective} ${blockedURI}`));
        });
      };
      const page = await visit(browser, 'console', { url, viewport: { width, height: 800 }, colorScheme, reducedMotion: 'reduce', prepare });
      for (const path of [...VIEWS, `/orders/${id}`]) {
        await page.goto(new URL(`console${path}`, url).href);
        await page.locator('h1').first().waitFor({ state: 'attached' });
        await isLive(page);
        await eventually(`${path} is read`, async () => !/Reading /.test(await page.locator('#app').textContent()));
        const where = `${path} at ${width} px, ${colorScheme}`;
        await fits(page).catch((error) => assert.fail(`${where}: ${error.message}`));
        assert.deepEqual(await lowContrast(page), [], where);
        assert.deepEqual(await unnamed(page), [], where);
        assert.deepEqual(await page.evaluate(() => globalThis.violations), [], where);
        assert.equal(await page.locator('[style], style, script:not([src]), [onclick]').count(), 0, where);
      }
      assert.deepEqual(page.trouble, [], `${width} px`);
    }
    return undefined;
  },

  async 'one header joins the pages, and the theme is kept'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const page = await visit(browser, '', { url, colorScheme: 'light' });
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.getByRole('button', { name: 'Theme: as the system' }).click();
    await page.getByRole('button', { name: 'Theme: light' }).click();
    await page.getByRole('button', { name: 'Theme: dark' }).waitFor();
    const dark = await ground();
    assert.notEqual(dark, light);
    for (const path of ['console', 'problems', 'console/orders', '']) {
      await page.goto(new URL(path, url).href);
      await page.getByRole('navigation', { name: 'Pages' }).waitFor();
      assert.deepEqual(await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents(), ['Home', 'Console', 'Guide', 'API', 'GraphiQL']);
      assert.equal(await ground(), dark, path);
    }
    await page.getByRole('link', { name: 'Console' }).first().click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    // These have their own styles, and take the theme over.
    const isDark = () => page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches || document.documentElement.matches('.coal') || document.body.matches('.graphiql-dark'));
    for (const [path, shown, current, kind, theme] of [
      ['docs', '.operation', 'API', 'page'], ['problems', 'dl', 'API', 'true'], ['console/orders', '.orders', 'Console', 'true'], ['console', '.tiles', 'Console', 'page'], ['', '.rows, .empty', 'Home', 'page'],
      ['guide/', 'main h1', 'Guide', 'page', isDark], ['guide/operate/console.html', 'main h1', 'Guide', 'true', isDark],
      ['graphiql', '.graphiql-container', 'GraphiQL', 'page', isDark], ['playground', '.graphiql-wrapper', 'GraphiQL', 'true'],
    ]) {
      await page.goto(new URL(path, url).href);
      await page.locator(shown).first().waitFor();
      if (path.startsWith('guide') && (await page.locator('#header').count()) === 0) continue; // web/guide is older than its template.
      const place = page.getByRole('navigation', { name: 'Pages', exact: true });
      await place.waitFor();
      const marked = await place.locator('[aria-current]').evaluateAll((all) => all.map((each) => [each.textContent, each.getAttribute('aria-current')]));
      assert.deepEqual(marked, [[current, kind]], path);
      const { x, y, height } = await page.locator('#header').boundingBox();
      assert.deepEqual([x, y], [0, 0], path);
      assert.ok(height >= 40 && height <= 54, `${path}: ${height} px`);
      if (theme) await eventually(`${path} is dark`, theme);
    }
    assert.deepEqual(page.trouble.filter((line) => !/status of 404/.test(line)), []);
    return undefined;
  },

  async 'files are compressed and kept, and the console paints soon'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const seen = [];
    const prepare = (blank) => blank.on('response', (response) => { if (/\/assets\//.test(response.url())) seen.push(response); });
    const page = await visit(browser, 'console/orders', { url, prepare });
    await isLive(page);
    const text = seen.filter((response) => /\.(js|mjs|css)$/.test(response.url()));
    assert.ok(text.length > 20);
    for (const response of text) {
      const headers = response.headers();
      assert.match(headers['cache-control'], /immutable/, response.url());
      assert.equal(headers['content-encoding'], 'gzip', response.url());
    }
    const size = await page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => /assets/.test(name)).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0));
    seen.length = 0;
    await page.reload();
    await isLive(page);
    const transferred = await page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => /assets/.test(name)).reduce((sum, { transferSize }) => sum + transferSize, 0));
    assert.equal(transferred, 0, 'a second visit reads no file again');
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
    return `${Math.round(size / 1024)} KB, first paint of a second visit ${Math.round(paint)} ms`;
  },

  async 'a proxy can serve the console below a path'(browser) {
    const server = await Server.start();
    if (!server) return SKIPPED;
    const { url } = server;
    const id = await createScheduled('Below', { url });
    // Stands for the proxy: removes the first part of each path.
    const prepare = (blank) => blank.route('**/shop/**', async (route) => {
      const response = await route.fetch({ url: route.request().url().replace('/shop/', '/') });
      return route.fulfill({ response });
    });
    const page = await visit(browser, 'shop/console/orders', { url, prepare });
    await page.locator(`#row-${id} a`).click();
    await page.waitForURL(/\/shop\/console\/orders\//);
    await page.getByText('Waits for its time').waitFor();
    await page.reload();
    await page.getByText('Waits for its time').waitFor();
    const links = await page.locator('.site-header a').evaluateAll((all) => all.map(({ pathname }) => pathname));
    assert.ok(links.every((path) => path.startsWith('/shop/')), links.join());
    for (const [path, shown] of [['guide/operate/console.html', 'main h1'], ['graphiql', '.graphiql-container'], ['problems', 'dl'], ['docs', '.operation']]) {
      await page.goto(new URL(`shop/${path}`, url).href);
      await page.locator(shown).first().waitFor();
      const all = await page.locator('.site-header a').evaluateAll((found) => found.map(({ pathname }) => pathname));
      assert.ok(all.every((each) => each.startsWith('/shop/')), `${path}: ${all.join()}`);
    }
    return undefined;
  },
};
