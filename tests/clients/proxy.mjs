// A TCP proxy in front of a gateway that cuts the connections of one client.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// Every event has it, in a frame of a websocket as in a stream of server-sent events.
const EVENT = '"sequence":';
// Nothing is waited for longer than that before a cut.
const PATIENCE_MS = 400;

// Where a cut hurts: between two messages, instead of a message, or in the middle of one.
export const KINDS = ["idle", "lost", "torn"];

export class CutProxy {
  // [the client's socket, the gateway's socket]
  #pairs = new Set();
  #server;
  // What is done with the next data from the gateway.
  #armed = null;
  // Whether an event has passed since the last cut, and who waits for that.
  #live = false;
  #waiting = [];
  // Connections that the client has made.
  connections = 0;

  // In front of `http://host:port`; returns when it listens.
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

  // Cuts every connection of the client. Says which kind of cut it was: without an event to lose or to
  // tear within a moment it is an idle one.
  async cut(kind) {
    let done = "idle";
    if (kind !== "idle") {
      const hit = new Promise((resolve) => {
        this.#armed = (client, data) => {
          this.#armed = () => {};
          done = kind;
          if (kind === "lost") return resolve();
          client.write(data.subarray(0, Math.ceil(data.length / 2)), resolve);
        };
      });
      await Promise.race([hit, sleep(PATIENCE_MS)]);
    }
    this.#armed = null;
    this.#live = false;
    for (const sockets of this.#pairs) sockets.forEach((socket) => socket.destroy());
    return done;
  }

  // Connections that are there now.
  get open() {
    return this.#pairs.size;
  }

  close() {
    this.#server.close();
    for (const sockets of this.#pairs) sockets.forEach((socket) => socket.destroy());
  }
}
