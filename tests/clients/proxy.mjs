// A TCP proxy in front of a gateway that cuts the connections of one client.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// Every event contains this, in websocket frames and in server-sent events.
const EVENT = '"sequence":';
// Maximum wait for an event before a cut.
const MAX_WAIT_MS = 400;

// The position of a cut: between two messages, instead of a message, or within a message.
export const KINDS = ["idle", "lost", "torn"];

export class CutProxy {
  // [the client's socket, the gateway's socket]
  #pairs = new Set();
  #server;
  // The function that gets the next event from the gateway.
  #armed = null;
  // Whether an event has passed since the last cut, and the functions that wait for it.
  #live = false;
  #waiting = [];
  // The number of connections of the client.
  connections = 0;

  // Starts the proxy for `http://host:port`, and returns its URL.
  async listen(gateway) {
    const { hostname, port } = new URL(gateway);
    this.#server = createServer({ noDelay: true }, (client) => {
      this.connections += 1;
      this.#join(client, connect({ host: hostname, port: Number(port), noDelay: true }));
    });
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  #join(client, gateway) {
    const pair = [client, gateway];
    this.#pairs.add(pair);
    const end = () => {
      client.destroy();
      gateway.destroy();
      this.#pairs.delete(pair);
    };
    for (const socket of pair) socket.on("error", end).on("close", end);
    client.on("data", (data) => gateway.write(data));
    gateway.on("data", (data) => {
      const event = data.includes(EVENT);
      if (event && this.#armed) return this.#armed(client, data);
      client.write(data);
      if (event) this.#pass();
    });
  }

  #pass() {
    this.#live = true;
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  // Waits until an event has passed over a connection that has not been cut.
  live() {
    return this.#live ? Promise.resolve() : new Promise((wake) => this.#waiting.push(wake));
  }

  // Cuts all connections of the client, and returns the kind of the cut: `idle` if no event comes in time.
  async cut(kind) {
    let result = "idle";
    if (kind !== "idle") {
      const hit = new Promise((resolve) => {
        this.#armed = (client, data) => {
          this.#armed = () => {};
          result = kind;
          if (kind === "lost") return resolve();
          client.write(data.subarray(0, Math.ceil(data.length / 2)), resolve);
        };
      });
      await Promise.race([hit, sleep(MAX_WAIT_MS)]);
    }
    this.#armed = null;
    this.#live = false;
    for (const sockets of this.#pairs) sockets.forEach((socket) => socket.destroy());
    return result;
  }

  // The number of open connections.
  get open() {
    return this.#pairs.size;
  }

  close() {
    this.#server.close();
    for (const sockets of this.#pairs) sockets.forEach((socket) => socket.destroy());
  }
}
