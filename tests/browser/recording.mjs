// Records one minute of the page while orders run, for the README, as an animated WebP without other tools:
//
//   ORDERS_BIN=target/debug/orders node tests/browser/recording.mjs .github/recording.webp
//
// A frame contains only the rectangle that changed. The browser encodes it, and this file puts the frames together
// (https://developers.google.com/speed/webp/docs/riff_container).

import { writeFile } from 'node:fs/promises';
import { Server, createOrder, graphql, isLive, launch, run, visit } from './harness.mjs';

const SECONDS = Number(process.env.SECONDS ?? 60);
const VIEWPORT = { width: 1280, height: 800 };
const SCALE = 0.75;
const SIZE = { width: VIEWPORT.width * SCALE, height: VIEWPORT.height * SCALE };
const QUALITY = 0.35;
/** The maximum number of frames in a second. */
const RATE = 2;
const ITEMS = ['Laptop', 'Mouse', 'Keyboard', 'Monitor', 'Desk', 'Webcam', 'Chair', 'Headphones'];
const CUSTOMERS = ['Ada Lovelace', 'Grace Hopper', 'Alan Turing', 'Barbara Liskov', 'Edsger Dijkstra'];

const sleep = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1_000); });

/** The encoder: a page that compares each screenshot with the one before and returns what changed. */
async function openEncoder(browser) {
  const page = await browser.newPage();
  await page.evaluate(({ width, height }) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
    let before = null;
    /** The smallest rectangle with every pixel that differs; its position is even, as WebP requires. */
    const changed = (now) => {
      if (!before) return { x: 0, y: 0, right: width, bottom: height };
      let [x, y, right, bottom] = [width, height, 0, 0];
      for (let n = 0; n < now.length; n++) {
        if (now[n] === before[n]) continue;
        const [column, line] = [n % width, Math.floor(n / width)];
        [x, right] = [Math.min(x, column), Math.max(right, column + 1)];
        [y, bottom] = [Math.min(y, line), Math.max(bottom, line + 1)];
      }
      return { x: x - x % 2, y: y - y % 2, right, bottom };
    };
    globalThis.encode = async (png, quality) => {
      const response = await fetch(`data:image/png;base64,${png}`);
      context.drawImage(await createImageBitmap(await response.blob()), 0, 0);
      const now = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
      const { x, y, right, bottom } = changed(now);
      if (right <= x) return null;
      before = now;
      const part = new OffscreenCanvas(right - x, bottom - y);
      part.getContext('2d', { alpha: false }).drawImage(canvas, -x, -y);
      const blob = await part.convertToBlob({ type: 'image/webp', quality });
      const bytes = new Uint8Array(await blob.arrayBuffer());
      let binary = '';
      for (const byte of bytes) binary += String.fromCharCode(byte);
      return { x, y, width: right - x, height: bottom - y, webp: btoa(binary) };
    };
  }, SIZE);
  return (png) => page.evaluate(([data, quality]) => globalThis.encode(data, quality), [png.toString('base64'), QUALITY]);
}

const u24 = (number) => [number & 255, (number >> 8) & 255, (number >> 16) & 255];

function chunk(name, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.alloc(8);
  head.write(name, 0, 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

/** The chunk with the image of a WebP file; a frame has no colour profile. */
function imageOf(file) {
  for (let at = 12; at < file.length;) {
    const end = at + 8 + file.readUInt32LE(at + 4);
    if (file.toString('latin1', at, at + 4).startsWith('VP8 ')) return file.subarray(at, end + end % 2);
    at = end + end % 2;
  }
  throw new Error('the browser encoded no image');
}

/** The file of frames, each with its rectangle, its image and its time in milliseconds. */
function animation(frames) {
  const looped = [255, 255, 255, 255, 0, 0];
  const parts = frames.map(({ x, y, width, height, webp, ms }) => chunk(
    'ANMF', u24(x / 2), u24(y / 2), u24(width - 1), u24(height - 1), u24(ms), [0b10],
    imageOf(Buffer.from(webp, 'base64')),
  ));
  const head = chunk('VP8X', [0b10, 0, 0, 0], u24(SIZE.width - 1), u24(SIZE.height - 1));
  const body = Buffer.concat([Buffer.from('WEBP'), head, chunk('ANIM', looped), ...parts]);
  const riff = Buffer.alloc(8);
  riff.write('RIFF', 0, 'latin1');
  riff.writeUInt32LE(body.length, 4);
  return Buffer.concat([riff, body]);
}

/** Creates orders until `ended()`, about one in a second. One attempt each, so that some of them fail. */
async function createOrders(url, ended) {
  for (let n = 0; !ended(); n++) {
    const price = (9.5 + (n * 37) % 900).toFixed(2);
    const customer = CUSTOMERS[n % CUSTOMERS.length];
    await createOrder(ITEMS[n % ITEMS.length], { url, price, customer, quantity: 1 + n % 3, maxAttempts: 1 });
    await sleep(0.8);
  }
}

/** What a user of the page does in the minute. */
async function use(page, url, end) {
  await sleep(8);
  await page.getByLabel('Item').pressSequentially('Espresso machine', { delay: 60 });
  await page.getByLabel('Price each').pressSequentially('499.00', { delay: 60 });
  await page.getByRole('button', { name: 'Create order' }).click();
  await sleep(10);
  await graphql('mutation { pauseQueue(input: { requestedBy: "operator" }) { queue { paused } } }', {}, url);
  await sleep(7);
  await page.getByRole('button', { name: 'Resume' }).click();
  await sleep(8);
  await page.locator('li[data-status="FAILED"] a').first().click();
  await sleep(5);
  await page.getByRole('button', { name: 'Redrive order' }).first().click();
  await sleep(3);
  await page.getByRole('button', { name: 'Redrive order' }).last().click();
  await sleep(6);
  await page.evaluate(() => scrollTo({ top: 0, behavior: 'smooth' }));
  await sleep(Math.max(0, (end - Date.now()) / 1_000));
}

async function record(browser) {
  const server = await Server.start('--simulate-failure-rate', '0.12', '--simulate-min-delay', '600ms', '--simulate-max-delay', '3s');
  const { url } = server;
  const page = await visit(browser, '', { url, viewport: VIEWPORT, deviceScaleFactor: SCALE });
  await isLive(page);
  const encode = await openEncoder(browser);
  const begin = Date.now();
  const end = begin + SECONDS * 1_000;
  const ended = () => Date.now() >= end;
  const frames = [];
  const film = async () => {
    while (!ended()) {
      const at = Date.now();
      const frame = await encode(await page.screenshot());
      if (frame) frames.push({ ...frame, at });
      await sleep(Math.max(0, (at + 1_000 / RATE - Date.now()) / 1_000));
    }
  };
  await Promise.all([film(), createOrders(url, ended), use(page, url, end)]);
  frames.forEach((frame, n) => { frame.ms = (frames[n + 1]?.at ?? end + 2_000) - frame.at; });
  const file = animation(frames);
  await writeFile(process.argv[2], file);
  return `${frames.length} frames, ${Math.round(file.length / 1024)} KiB, ${(Date.now() - begin) / 1_000} s`;
}

const browser = await launch();
try {
  console.log(await run(record, browser));
} finally {
  await browser.close();
}
