// The parts of a conformance run: gateways, workers, a proxy between them, and the REST API.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";

const DEADLINE = 30_000;
const LEASE = 2_000;
const FINAL = ["completed", "failed", "cancelled"];

// On Linux a process ends with the script, also if the script is killed.
const withScript = spawnSync("setpriv", ["--pdeathsig", "KILL", "true"]).status === 0 ? ["setpriv", "--pdeathsig", "KILL"] : [];

// Waits until `find` returns a value, and returns it.
export async function eventually(what, find, deadline = DEADLINE) {
  const until = Date.now() + deadline;
  for (;;) {
    const found = await find();
    if (found) return found;
    if (Date.now() > until) throw new Error(`${what}: not within ${deadline / 1000} s`);
    await sleep(25);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// A process, its lines and its end.
export class Process {
  constructor(name, command, env, cwd) {
    const [program, ...args] = [...withScript, ...command];
    this.name = name;
    this.lines = [];
    this.log = "";
    this.child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let partial = "";
    this.child.stdout.setEncoding("utf8").on("data", (data) => {
      const lines = (partial + data).split("\n");
      partial = lines.pop();
      this.lines.push(...lines);
    });
    // The end of the log is shown with an error.
    this.child.stderr.setEncoding("utf8").on("data", (data) => (this.log = (this.log + data).slice(-20_000)));
    this.ended = new Promise((resolve) => {
      this.child.once("error", (error) => resolve({ code: -1, error }));
      this.child.once("close", (code, signal) => resolve({ code, signal }));
    });
    this.ended.then((end) => (this.end = end));
  }

  // Waits for a line of the documented form: `started ORDER ATTEMPT`.
  async line(text) {
    await eventually(`${this.name} prints "${text}"`, () => {
      if (this.end && !this.lines.includes(text)) throw new Error(`${this.name} has ended: ${this.describeEnd()}`);
      return this.lines.includes(text);
    });
  }

  describeEnd() {
    const { code, signal, error } = this.end;
    return `${error ?? signal ?? `exit code ${code}`}\n${this.log}`;
  }

  signal(name) {
    this.child.kill(name);
  }

  async kill() {
    this.signal("SIGKILL");
    await this.ended;
  }

  async exit(deadline = DEADLINE) {
    return eventually(`${this.name} ends`, () => this.end, deadline);
  }
}

// A connection to a gateway that can be stalled and cut. In the mode `hold` the data of the gateway arrives with `release`.
export class Proxy {
  static async start(port) {
    const proxy = new Proxy();
    proxy.sockets = new Set();
    proxy.mode = "pass";
    proxy.server = createServer((client) => {
      const gateway = createConnection(port, "127.0.0.1");
      const link = { client, gateway, held: [] };
      proxy.sockets.add(link);
      const pipe = (from, to, isPassing) => {
        from.on("data", (data) => {
          if (isPassing()) to.write(data);
          else if (proxy.mode === "hold") link.held.push(data);
        });
        from.on("error", () => {});
        from.on("close", () => {
          to.destroy();
          proxy.sockets.delete(link);
        });
      };
      pipe(client, gateway, () => proxy.mode !== "stall");
      pipe(gateway, client, () => proxy.mode === "pass");
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => proxy.server.once("listening", resolve));
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  // Lets data pass again, after what is held.
  release() {
    for (const { client, held } of this.sockets) held.splice(0).forEach((data) => client.write(data));
    this.mode = "pass";
  }

  // Lets data pass again, over new connections.
  restore() {
    this.cut();
    this.mode = "pass";
  }

  cut() {
    for (const { client, gateway } of this.sockets) {
      client.destroy();
      gateway.destroy();
    }
  }

  close() {
    this.cut();
    this.server.close();
  }
}

// One gateway with the embedded database, or two on DATABASE_URL and REDIS_URL. They require keys.
export class System {
  static async start(orders, command) {
    const system = new System();
    Object.assign(system, { orders, command, workers: [], proxies: [], folder: mkdtempSync(join(tmpdir(), "orders-")) });
    system.isEmbedded = !process.env.DATABASE_URL;
    system.gateways = [];
    for (let i = 0; i < (system.isEmbedded ? 1 : 2); i++) {
      system.gateways.push({ http: await freePort(), grpc: await freePort() });
      await system.startGateway(i);
    }
    const key = (name) => readFileSync(join(system.folder, name), "utf8").trim();
    [system.adminKey, system.workerKey] = [key("admin.key"), key("worker.key")];
    return system;
  }

  async startGateway(i) {
    const gateway = this.gateways[i];
    const command = this.isEmbedded ? ["dev", "--handler", "none"] : ["gateway"];
    const args = ["--http-addr", `127.0.0.1:${gateway.http}`, "--grpc-addr", `127.0.0.1:${gateway.grpc}`];
    const rules = ["--lease", `${LEASE}ms`, "--visibility-timeout", "2s", "--shutdown-timeout", "3s", "--auth", "keys"];
    const keys = ["--bootstrap-key-file", "admin.key", "--bootstrap-worker-key-file", "worker.key"];
    gateway.process = new Process("the gateway", [this.orders, ...command, ...args, ...rules, ...keys], {}, this.folder);
    await eventually("the gateway is ready", async () => {
      if (gateway.process.end) throw new Error(`the gateway has ended: ${gateway.process.describeEnd()}`);
      const response = await fetch(`http://127.0.0.1:${gateway.http}/readyz`).catch(() => undefined);
      return response?.ok;
    });
  }

  // Stops a gateway as an update does, and starts it again.
  async restartGateway(i) {
    this.gateways[i].process.signal("SIGTERM");
    await this.gateways[i].process.exit();
    await this.startGateway(i);
  }

  async stop() {
    await this.stopWorkers();
    await Promise.all(this.gateways.map((gateway) => gateway.process?.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  urls() {
    return this.gateways.map((gateway) => `http://127.0.0.1:${gateway.grpc}`);
  }

  // Starts a worker with the documented variables.
  worker({ urls = this.urls(), token = this.workerKey, concurrency = 4, grace = 10, kinds = [] } = {}) {
    const name = `worker-${++workers}`;
    const worker = new Process(name, this.command, {
      ORDERS_GATEWAY_URL: urls.join(","),
      ORDERS_TOKEN: token,
      ORDERS_WORKER_ID: name,
      ORDERS_CONCURRENCY: String(concurrency),
      ORDERS_GRACE: String(grace),
      ORDERS_KINDS: kinds.join(","),
    });
    this.workers.push(worker);
    return worker;
  }

  async proxy() {
    const proxy = await Proxy.start(this.gateways[0].grpc);
    this.proxies.push(proxy);
    return proxy;
  }

  async stopWorkers() {
    this.proxies.splice(0).forEach((proxy) => proxy.close());
    await Promise.all(this.workers.splice(0).map((worker) => worker.kill()));
  }

  async request(path, body) {
    const headers = { authorization: `Bearer ${this.adminKey}`, "content-type": "application/json" };
    const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    const response = await fetch(`http://127.0.0.1:${this.gateways.at(-1).http}${path}`, init);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  // Creates an order with a behaviour, and returns its id.
  async create(behaviour = "complete", { ms, kind } = {}) {
    const metadata = { behaviour, ...(ms === undefined ? {} : { ms: String(ms) }) };
    const order = { item: "Vase", quantity: 1, price: 25, metadata, ...(kind ? { kind } : {}) };
    return (await this.request("/orders", order)).id;
  }

  order(id) {
    return this.request(`/orders/${id}`);
  }

  // Waits for a final status, and returns the order. It must have exactly one final event.
  async final(id, status = "completed") {
    const order = await eventually(`order ${id} is final`, async () => {
      const order = await this.order(id);
      return FINAL.includes(order.status) && order;
    });
    const statuses = (await this.request(`/orders/${id}/events`)).map((event) => event.status);
    const finals = statuses.filter((each) => FINAL.includes(each));
    equal(finals, [status], `the final statuses of ${statuses}`);
    return order;
  }
}

let workers = 0;

// Fails unless both are the same.
export function equal(found, expected, what) {
  const [left, right] = [found, expected].map((value) => JSON.stringify(value));
  if (!isDeepStrictEqual(found, expected)) throw new Error(`${what}: expected ${right}, found ${left}`);
}
