// A shop for pictures: `orders dev` with the orders of `orders demo`, and a carrier that can be out of order.
//
// The carrier is the webhook that handles the orders, so the error classes and the reasons are those of a real one.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Server, stopLater } from './harness.mjs';

/** A number below 1 that is the same for the same order. */
function share(text) {
  let sum = 7;
  for (const letter of text) sum = (sum * 31 + letter.charCodeAt(0)) % 9_973;
  return sum / 9_973;
}

/** In an outage some orders still succeed, most are tried again, and some fail at once. */
function inOutage(wanted) {
  if (wanted < 0.3) return [200, 'label printed'];
  if (wanted > 0.8) return [423, 'the account is locked for maintenance'];
  return [wanted > 0.45 ? 503 : 504, 'the label service is down for maintenance'];
}

/** The carrier: it accepts orders after some time, and in an outage it refuses most of them. */
export class Carrier {
  isOut = false;
  #server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      const { orderId } = JSON.parse(body);
      const wanted = share(orderId);
      setTimeout(() => this.#answer(response, wanted), this.isOut ? 900 + wanted * 900 : 120 + wanted * 700);
    });
  });

  #answer(response, wanted) {
    // An order in the hundred has an address that no carrier knows.
    const [status, words] = wanted < 0.012 ? [422, 'the address cannot be delivered'] : this.isOut ? inOutage(wanted) : [200, 'label printed'];
    response.writeHead(status, { 'content-type': 'text/plain' }).end(words);
  }

  async start() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    stopLater(() => { this.#server.closeAllConnections(); this.#server.close(); });
    return `http://127.0.0.1:${this.#server.address().port}/labels`;
  }
}

/** Starts the shop and its carrier. */
export async function openShop() {
  const carrier = new Carrier();
  const handler = ['--handler', 'webhook', '--webhook-url', await carrier.start(), '--webhook-show-responses', 'on'];
  const server = await Server.start('--worker-id', 'packer-1', '--concurrency', '24', ...handler);
  return { server, carrier, url: server.url };
}

/** Creates orders until `seconds` have passed, with `orders demo`. */
export function trade(url, { seconds, rate, seed }) {
  const args = ['demo', '--url', url.href, '--orders', String(Math.max(1, seconds * rate)), '--rate', `${rate}/s`, '--seed', String(seed)];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.env.ORDERS_BIN, ...args], { stdio: 'ignore' });
  stopLater(() => child.kill());
  return once(child, 'exit');
}
