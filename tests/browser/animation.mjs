// An animated WebP of screenshots, without other tools: a frame contains only the rectangle that changed. The browser encodes it,
// and this file puts the frames together (https://developers.google.com/speed/webp/docs/riff_container).

/** The encoder: a page that compares each screenshot of a size with the one before and returns what changed. */
export async function openEncoder(browser, size, quality) {
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
  }, size);
  return (png) => page.evaluate(([data, quality]) => globalThis.encode(data, quality), [png.toString('base64'), quality]);
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

/** The file of frames of a size, each with its rectangle, its image and its time in milliseconds. */
export function animation(frames, size) {
  const looped = [255, 255, 255, 255, 0, 0];
  const parts = frames.map(({ x, y, width, height, webp, ms }) => chunk(
    'ANMF', u24(x / 2), u24(y / 2), u24(width - 1), u24(height - 1), u24(ms), [0b10],
    imageOf(Buffer.from(webp, 'base64')),
  ));
  const head = chunk('VP8X', [0b10, 0, 0, 0], u24(size.width - 1), u24(size.height - 1));
  const body = Buffer.concat([Buffer.from('WEBP'), head, chunk('ANIM', looped), ...parts]);
  const riff = Buffer.alloc(8);
  riff.write('RIFF', 0, 'latin1');
  riff.writeUInt32LE(body.length, 4);
  return Buffer.concat([riff, body]);
}

/** One screenshot as a WebP file. */
export async function still(browser, png, quality) {
  const page = await browser.newPage();
  try {
    const base64 = await page.evaluate(async ([data, wanted]) => {
      const response = await fetch(`data:image/png;base64,${data}`);
      const bitmap = await createImageBitmap(await response.blob());
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      canvas.getContext('2d', { alpha: false }).drawImage(bitmap, 0, 0);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/webp', quality: wanted })).arrayBuffer());
      let binary = '';
      for (const byte of bytes) binary += String.fromCharCode(byte);
      return btoa(binary);
    }, [png.toString('base64'), quality]);
    return Buffer.from(base64, 'base64');
  } finally {
    await page.close();
  }
}
