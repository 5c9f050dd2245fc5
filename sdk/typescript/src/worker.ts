// A worker: it gets jobs from gateways over the stream `Claim`, runs a handler for each, and reports the outcomes.
//
// The loss of a stream stops no handler: the next stream, to any gateway, begins with the leases of all jobs, and repeats
// the results without a response.

import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Failed, LeaseLost, Retry, encode, failure } from "./job.js";
import type { Handler, Job, Lease } from "./job.js";
import { Stream, StreamLost } from "./stream.js";
import type { Message } from "./stream.js";

const MAX_BATCH = 1_000;
// With results of the maximum size they fit into one message, which has at most 4 MiB.
const MAX_REPORTS = 50;
const MAX_DELAY_MS = 5_000;
const REPORT_TIMEOUT_MS = 5_000;
const PROGRESS_INTERVAL_MS = 1_000;

export interface WorkerOptions {
  /** gRPC addresses of the gateways, with http:// or https://; default: ORDERS_GATEWAY_URL, separated by commas. */
  urls?: string | string[];
  /** An API key or a token, or a function that returns the present one; default: ORDERS_TOKEN. */
  token?: string | (() => string);
  /** The kinds of orders that the worker takes, a list or separated by commas; without any: `default`. `*` is every kind. */
  kinds?: string | string[];
  /** The number of orders at the same time; default: 16. */
  concurrency?: number;
  name?: string;
  /** The time that running handlers have at the shutdown; then their orders are released. Default: 10 s. */
  graceMs?: number;
  /** Certificates (PEM) that gateways are verified with, in place of those of the system. */
  ca?: Buffer;
  /** Receives warnings; default: `console.warn`. */
  warn?: (message: string) => void;
}

/** The gateway refuses the worker, for example because of its token. */
export class WorkerRefused extends Error {
  override name = "WorkerRefused";
}

interface Running {
  lease: Lease;
  abort: AbortController;
}

interface Checkpoint {
  message: Message;
  resolve: () => void;
  reject: (error: Error) => void;
}

const words = (given: string | string[]): string[] =>
  (typeof given === "string" ? given.split(",") : given).map((word) => word.trim()).filter(Boolean);

const keyOf = (lease: Lease): string => `${lease.orderId} ${lease.leaseToken}`;

export class Worker {
  private readonly urls: string[];
  private readonly kinds: string[];
  private readonly options: WorkerOptions;
  private readonly concurrency: number;
  private readonly warn: (message: string) => void;
  private handler: Handler = () => {};
  /** Jobs with a lease. */
  private readonly jobs = new Map<string, Running>();
  /** The number of handlers that run. One that has lost its lease has its slot until it ends. */
  private running = 0;
  private reports: Message[] = [];
  private readonly unanswered = new Map<number, Message[]>();
  private readonly checkpoints = new Map<number, Checkpoint>();
  private number = 0;
  private stream?: Stream;
  /** The stream that is opened, or was opened last. */
  private latest?: Stream;
  private isStopping = false;
  private readonly ended = new AbortController();
  private changed: () => void = () => {};

  constructor(options: WorkerOptions = {}) {
    this.urls = words(options.urls ?? (process.env.ORDERS_GATEWAY_URL || "http://127.0.0.1:50051"));
    this.kinds = words(options.kinds ?? []);
    for (const url of this.urls) {
      if (!/^https?:\/\//.test(url)) throw new Error(`the address of a gateway begins with http:// or https://, not '${url}'`);
    }
    this.concurrency = options.concurrency ?? 16;
    if (!(this.concurrency >= 1 && this.concurrency <= MAX_BATCH)) throw new Error(`concurrency is 1 to ${MAX_BATCH}`);
    this.options = options;
    this.warn = options.warn ?? ((message) => console.warn(`orders: ${message}`));
  }

  /** Runs until SIGTERM, SIGINT or `stop`. Fails with `WorkerRefused` if a gateway refuses the worker. */
  async run(handler: Handler): Promise<void> {
    this.handler = handler;
    const stop = () => this.stop();
    process.on("SIGTERM", stop).on("SIGINT", stop);
    try {
      await Promise.race([this.keepStream(), this.shutDown()]);
    } finally {
      process.off("SIGTERM", stop).off("SIGINT", stop);
      for (const { lease } of [...this.jobs.values()]) this.cancel(lease, "the worker has ended");
      this.ended.abort();
      this.stream?.end();
      this.latest?.end();
    }
  }

  /** Begins the shutdown; `run` returns when the handlers have ended. */
  stop(): void {
    this.isStopping = true;
    this.changed();
  }

  /** Replaces the stream whenever it is lost or its gateway shuts down. */
  private async keepStream(): Promise<void> {
    let delay = 0;
    let isFailing = false;
    for (let i = Math.floor(Math.random() * this.urls.length); ; i++) {
      await sleep(delay * (0.5 + Math.random() / 2), undefined, { signal: this.ended.signal });
      delay = Math.min(Math.max(2 * delay, 100), MAX_DELAY_MS);
      const { token = process.env.ORDERS_TOKEN ?? "", ca } = this.options;
      const url = this.urls[i % this.urls.length] ?? "";
      const stream: Stream = new Stream(url, typeof token === "function" ? token() : token, ca, (message) =>
        this.receive(stream, message),
      );
      this.latest = stream;
      try {
        this.resume(stream, await stream.open(this.hello()));
      } catch (error) {
        stream.end();
        if (!(error instanceof StreamLost)) throw error;
        if (error.isFatal) throw new WorkerRefused(`the gateway refuses the worker: ${url}: ${error.message}`);
        this.warn(`no stream to ${url}: ${error.message}`);
        isFailing = true;
        continue;
      }
      if (isFailing) this.warn(`connected to ${url} for orders of the kinds ${this.kinds.join() || "default"}`);
      isFailing = false;
      const began = Date.now();
      stream.beat(() => this.send({ heartbeat: {} }, stream));
      await stream.over;
      if (stream.lost && !this.ended.signal.aborted) this.warn(`stream to ${url} lost: ${stream.lost.message}`);
      // A gateway that ends each stream at once is not tried in a busy loop.
      if (Date.now() - began > 1_000) delay = 0;
    }
  }

  private hello(): Message {
    const reported = [...this.unanswered.values(), this.reports].flat().map((report) => report.lease as Lease);
    const running = [...[...this.jobs.values()].map((job) => job.lease), ...reported].slice(0, MAX_BATCH);
    const workerId = this.options.name ?? `${hostname()}-${process.pid}`;
    const version = `node ${process.versions.node}`;
    return { protocol: 1, workerId, version, host: hostname(), slots: this.concurrency, running, kinds: this.kinds };
  }

  private resume(stream: Stream, welcome: Message): void {
    const earlier = this.stream;
    this.stream = stream;
    earlier?.end();
    for (const { lease, reason } of welcome.lost) this.cancel(lease, reason);
    this.reports = [...this.unanswered.values(), this.reports].flat();
    this.unanswered.clear();
    this.flush();
    for (const { message } of this.checkpoints.values()) this.send({ checkpoint: message });
    this.send(this.isStopping ? { drain: {} } : {});
  }

  private receive(stream: Stream, response: Message): void {
    switch (response.message) {
      case "jobs":
        this.start(stream, response.jobs);
        break;
      case "resultsRecorded":
        this.unanswered.delete(response.resultsRecorded.number);
        for (const { lease, reason } of response.resultsRecorded.refused) {
          this.warn(`result of order ${lease.orderId} refused: ${reason}`);
        }
        this.changed();
        break;
      case "checkpointRecorded": {
        const { number, refused } = response.checkpointRecorded;
        const checkpoint = this.checkpoints.get(number);
        this.checkpoints.delete(number);
        if (refused) checkpoint?.reject(new LeaseLost(refused.reason));
        else checkpoint?.resolve();
        break;
      }
      case "cancel":
        for (const lease of response.cancel.leases) this.cancel(lease, "the order was cancelled, or the lease has expired");
        break;
      case "drain":
        stream.isDraining = true;
        stream.replace();
        break;
    }
  }

  /** Sends a message with the confirmation and the credits that are due. */
  private send(message: Message, stream = this.stream, sent?: () => void): void {
    if (!stream) return;
    const waiting = [...this.unanswered.values()].reduce((sum, reports) => sum + reports.length, this.reports.length);
    const isTaking = stream === this.stream && !stream.isDraining && !this.isStopping && waiting <= MAX_BATCH;
    const credits = isTaking ? Math.max(this.concurrency - this.running - stream.granted, 0) : 0;
    stream.granted += credits;
    stream.send({ received: stream.received, credits, ...message }, sent);
  }

  /** Sends the gathered reports. */
  private flush(): void {
    while (this.reports.length > 0 && this.stream && !this.stream.lost) {
      const reports = this.reports.splice(0, MAX_REPORTS);
      this.unanswered.set(++this.number, reports);
      this.send({ results: { number: this.number, reports } });
    }
  }

  private report(lease: Lease, outcome: Message): void {
    this.reports.push({ lease, ...outcome });
    // Outcomes of the same moment share a message.
    setImmediate(() => this.flush());
  }

  private start(stream: Stream, { number, jobs }: Message): void {
    // Without a confirmation they return to the queue.
    if (this.isStopping) return;
    stream.received = number;
    stream.granted -= jobs.length;
    // The gateway knows of the jobs before their handlers run: only then do their attempts count.
    let confirm = () => {};
    const confirmed = new Promise<void>((resolve) => (confirm = resolve));
    for (const job of jobs) {
      const lease: Lease = { orderId: job.order.orderId, leaseToken: job.leaseToken };
      if (!this.jobs.has(keyOf(lease))) void this.handle(lease, job, confirmed);
    }
    this.send({}, stream, confirm);
  }

  /** Runs the handler of a job, when the gateway knows that it has arrived. */
  private async handle(lease: Lease, { order, traceparent, checkpoint }: Message, confirmed: Promise<void>): Promise<void> {
    const abort = new AbortController();
    const job: Job = {
      order,
      lease,
      attempt: order.attempt,
      checkpoint: checkpoint ? JSON.parse(checkpoint) : undefined,
      traceparent,
      signal: abort.signal,
      progress: this.progress(lease, abort.signal),
      saveCheckpoint: async (value) => this.save(lease, abort.signal, encode(value)),
    };
    this.jobs.set(keyOf(lease), { lease, abort });
    this.running++;
    let outcome: Message;
    try {
      await confirmed;
      abort.signal.throwIfAborted();
      const result = await this.handler(job);
      outcome = { completed: result === undefined ? {} : { result: encode(result) } };
    } catch (error) {
      outcome = failure(error);
      if (!(error instanceof Retry || error instanceof Failed) && this.jobs.has(keyOf(lease))) {
        this.warn(`the handler of order ${lease.orderId} failed in attempt ${order.attempt}: ${(error as Error)?.stack ?? error}`);
      }
    }
    this.running--;
    if (this.jobs.delete(keyOf(lease))) this.report(lease, outcome);
    else this.send({});
    abort.abort(new LeaseLost("the job has ended"));
    this.changed();
  }

  /** Stops the handler of a job; its outcome is dropped. */
  private cancel(lease: Lease, reason: string): void {
    const job = this.jobs.get(keyOf(lease));
    this.jobs.delete(keyOf(lease));
    job?.abort.abort(new LeaseLost(reason));
  }

  /** Returns a function that sends the latest progress, at most one in a second. */
  private progress(lease: Lease, signal: AbortSignal): Job["progress"] {
    let latest: Message | undefined;
    let timer: NodeJS.Timeout | undefined;
    const send = () => {
      timer = undefined;
      if (!latest || signal.aborted) return;
      this.send({ progress: latest });
      latest = undefined;
      timer = setTimeout(send, PROGRESS_INTERVAL_MS);
    };
    return (percent, note = "") => {
      latest = { lease, percent, note: note.slice(0, 200) };
      if (!timer) send();
    };
  }

  private save(lease: Lease, signal: AbortSignal, json: string): Promise<void> {
    signal.throwIfAborted();
    const message = { number: ++this.number, lease, json };
    return new Promise<void>((resolve, reject) => {
      this.checkpoints.set(message.number, { message, resolve, reject });
      signal.addEventListener("abort", () => {
        if (this.checkpoints.delete(message.number)) reject(signal.reason);
      });
      this.send({ checkpoint: message });
    });
  }

  /** Waits for `stop`, then for the handlers, and reports what has ended. The rest is released. */
  private async shutDown(): Promise<void> {
    await this.until(() => this.isStopping);
    this.send({ drain: {} });
    await this.until(() => this.running === 0, this.options.graceMs ?? 10_000);
    for (const { lease } of [...this.jobs.values()]) {
      this.cancel(lease, "the worker shuts down");
      this.report(lease, { released: {} });
    }
    await this.until(() => this.reports.length + this.unanswered.size === 0, REPORT_TIMEOUT_MS);
  }

  /** Waits until a condition holds, or for the time. */
  private async until(condition: () => boolean, ms?: number): Promise<void> {
    let isOver = false;
    const timer = ms === undefined ? undefined : setTimeout(() => ((isOver = true), this.changed()), ms);
    while (!condition() && !isOver) await new Promise<void>((resolve) => (this.changed = resolve));
    clearTimeout(timer);
  }
}
