// A gateway that a test writes: the stream `Claim` without orders.

import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Server, ServerCredentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const proto = fileURLToPath(new URL("../proto/orders.proto", import.meta.url));
const { WorkerService } = loadPackageDefinition(loadSync(proto, { longs: Number, defaults: true, oneofs: true })).orders.v1;

// Values in the order of their arrival; `next` waits for one.
export class Inbox {
  values = [];
  waiting = [];

  push(value) {
    const next = this.waiting.shift();
    if (next) next(value);
    else this.values.push(value);
  }

  async next() {
    if (this.values.length > 0) return this.values.shift();
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("nothing has arrived")), 10_000)));
    const value = new Promise((resolve) => this.waiting.push(resolve));
    return Promise.race([value, late]).finally(() => clearTimeout(timer));
  }
}

class FakeStream {
  requests = new Inbox();
  credits = 0;
  jobs = 0;

  constructor(call, hello) {
    Object.assign(this, { call, hello, token: call.metadata.get("authorization")[0] });
  }

  sendJob(orderId, { attempt = 1, checkpoint } = {}) {
    const job = { order: { orderId, attempt, metadata: { name: orderId } }, leaseToken: "00000000000000aa", checkpoint };
    this.call.write({ jobs: { number: ++this.jobs, jobs: [job] } });
  }

  // Returns the next message with this field; `received` is a confirmation.
  async next(field) {
    for (;;) {
      const request = await this.requests.next();
      if (field === "received" && request.received > 0) return request;
      if (request.message === field) return request[field];
    }
  }

  // Returns the next report, and confirms it.
  async record() {
    const { number, reports } = await this.next("results");
    this.call.write({ resultsRecorded: { number } });
    return reports[0];
  }
}

export class FakeGateway {
  streams = new Inbox();
  refusal = undefined;

  static async start() {
    const gateway = new FakeGateway();
    gateway.server = new Server();
    gateway.server.addService(WorkerService.service, { claim: (call) => gateway.claim(call) });
    const bind = (resolve, reject) =>
      gateway.server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    gateway.url = `http://127.0.0.1:${await new Promise(bind)}`;
    return gateway;
  }

  async claim(call) {
    if (this.refusal) return call.emit("error", { code: this.refusal, details: "no" });
    const [{ hello }] = await once(call, "data");
    const stream = new FakeStream(call, hello);
    call.on("data", (request) => {
      stream.credits += request.credits;
      stream.requests.push(request);
    });
    call.on("error", () => {});
    call.write({ welcome: { leaseMs: 3_000, heartbeatIntervalMs: 1_000 } });
    this.streams.push(stream);
  }

  stop() {
    this.server.forceShutdown();
  }
}
