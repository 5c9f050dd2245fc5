// axe finds no violation in any view of the console, and in no page beside it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { furnished, pages, places, prepared } from './console_places.mjs';
import { visit } from './harness.mjs';

const SKIPPED = 'skipped: ORDERS_BIN is not set';
const WIDTHS = [360, 1280];

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The violations of the page as it is now, one line each; `rules` limits them. */
async function violations(page, rules) {
  // The script is evaluated by the debugger, which the content security policy of the page does not concern.
  await page.evaluate(axe);
  return page.evaluate(async (runOnly) => {
    const { violations: found } = await globalThis.axe.run(document, { resultTypes: ['violations'], ...(runOnly && { runOnly }) });
    return found.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id} (${help}): ${target.join(' ')}: ${failureSummary.split('\n').slice(1).join(' ').trim()}`));
  }, rules);
}

async function look(browser, list, width, options) {
  const ids = await furnished();
  if (!ids) return SKIPPED;
  const found = [];
  let all = 0;
  const page = await visit(browser, 'console', { url: ids.url, viewport: { width, height: 900 }, reducedMotion: 'reduce', ...options });
  for (const { name, path, open } of list(ids)) {
    // An address that differs only in its fragment would not load the page again.
    await page.goto('about:blank');
    await page.emulateMedia({ colorScheme: 'light' });
    await page.goto(new URL(path, ids.url).href);
    await open(page);
    if (path.startsWith('guide') && (await page.locator('#header').count()) === 0) continue; // web/guide is older than its template.
    all += 1;
    found.push(...(await violations(page)).map((line) => `${name}, ${width} px, light: ${line}`));
    // Only the colours are different in the dark.
    await page.emulateMedia({ colorScheme: 'dark' });
    found.push(...(await violations(page, ['color-contrast'])).map((line) => `${name}, ${width} px, dark: ${line}`));
  }
  assert.ok(found.length === 0, `\n${found.join('\n')}`);
  return `${all} places`;
}

export const consoleAxe = Object.fromEntries(WIDTHS.flatMap((width) => [
  [`axe: every view of the console at ${width} px`, (browser) => look(browser, places, width, { prepare: prepared })],
  [`axe: the pages beside the console at ${width} px`, (browser) => look(browser, pages, width)],
]));
