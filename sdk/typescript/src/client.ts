// Calls of the REST API: create, get, list, follow and cancel orders.
//
// All calls can be repeated without a second effect, so they are repeated after a lost connection and while a gateway is
// busy.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const FINAL = ["completed", "failed", "cancelled"];
const RETRYABLE = [429, 502, 503, 504];
const TRIES = 5;
const MAX_DELAY_MS = 10_000;
const TIMEOUT_MS = 30_000;

/** An order, as docs/reference/rest.md describes it. */
export interface OrderView {
  id: string;
  status: string;
  sequence: number;
  attempt: number;
  result?: unknown;
  metadata: Record<string, string>;
  [field: string]: unknown;
}

export interface OrderEvent {
  orderId: string;
  sequence: number;
  status: string;
  previousStatus: string | null;
  attempt: number;
  reason: string | null;
  errorClass: string | null;
  worker: string | null;
  occurredAt: string;
}

export interface ClientOptions {
  /** Addresses of gateways; default: ORDERS_URL, separated by commas. */
  urls?: string | string[];
  /** An API key or a token; default: ORDERS_TOKEN. */
  token?: string;
}

/** A response with an error. `code` is one of the documented error codes, `errors` names each invalid value. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly code: string;
  readonly errors: unknown[];
  constructor(readonly status: number, problem: { code?: string; detail?: string; title?: string; errors?: unknown[] }) {
    super(`${status} ${problem.code ?? ""}: ${problem.detail ?? problem.title ?? "no description"}`);
    this.code = problem.code ?? "";
    this.errors = problem.errors ?? [];
  }
}

export class Client {
  private readonly urls: string[];
  private readonly token: string;

  constructor(options: ClientOptions = {}) {
    const urls = options.urls ?? (process.env.ORDERS_URL || "http://127.0.0.1:3000");
    this.urls = (typeof urls === "string" ? urls.split(",") : urls).map((url) => url.trim().replace(/\/$/, ""));
    this.token = options.token ?? process.env.ORDERS_TOKEN ?? "";
  }

  /** Creates an order and returns it. A create with the key of an earlier one returns the order of that one. */
  async create(order: Record<string, unknown>, options: { idempotencyKey?: string } = {}): Promise<OrderView> {
    const key = options.idempotencyKey ?? randomUUID();
    return (await this.send("POST", "/orders", { body: order, headers: { "idempotency-key": key } })).json();
  }

  async get(id: string): Promise<OrderView> {
    return (await this.send("GET", `/orders/${encodeURIComponent(id)}`)).json();
  }

  /** Returns the orders that match, newest first: `list({ status: "failed", metadata: { channel: "web" } })`. */
  async *list(filters: Record<string, unknown> = {}): AsyncGenerator<OrderView, void, void> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(filters)) {
      if (value && typeof value === "object" && !Array.isArray(value)) {
        for (const [key, item] of Object.entries(value)) query.set(`${name}.${key}`, String(item));
      } else if (value !== undefined) query.set(name, String(value));
    }
    let path: string | undefined = `/orders?${query}`;
    while (path) {
      const response = await this.send("GET", path);
      yield* (await response.json()) as OrderView[];
      path = /<([^>]*)>; *rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
    }
  }

  /** Returns the events of an order after a sequence, as they happen, up to its final status. */
  async *follow(id: string, options: { after?: number; signal?: AbortSignal } = {}): AsyncGenerator<OrderEvent, void, void> {
    let { after = 0 } = options;
    for (;;) {
      const headers = { accept: "text/event-stream", "last-event-id": String(after) };
      const path = `/orders/${encodeURIComponent(id)}/events`;
      const abort = new AbortController();
      const stop = () => abort.abort(options.signal?.reason);
      options.signal?.throwIfAborted();
      options.signal?.addEventListener("abort", stop);
      try {
        const response = await this.send("GET", path, { headers, signal: abort.signal });
        if (response.status === 204 || !response.body) return;
        let text = "";
        const decoder = new TextDecoder();
        for await (const bytes of response.body) {
          const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
          text = lines.pop() ?? "";
          for (const line of lines.filter((line) => line.startsWith("data:"))) {
            const event = JSON.parse(line.slice(5)) as OrderEvent;
            after = event.sequence;
            yield event;
            if (FINAL.includes(event.status)) return;
          }
        }
      } catch (error) {
        if (error instanceof ApiError || options.signal?.aborted) throw error;
      } finally {
        options.signal?.removeEventListener("abort", stop);
        abort.abort();
      }
      await sleep(500);
    }
  }

  async cancel(id: string, options: { reason?: string } = {}): Promise<OrderView> {
    return (await this.send("POST", `/orders/${encodeURIComponent(id)}/cancel`, { body: options })).json();
  }

  /** Returns a response without an error, or fails with `ApiError`. */
  private async send(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Response> {
    const headers: Record<string, string> = { "content-type": "application/json", ...options.headers };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    for (let tried = 1; ; tried++) {
      let waitMs = 200 * tried;
      try {
        const signal = options.signal ?? AbortSignal.timeout(TIMEOUT_MS);
        const response = await fetch(this.urls[0] + path, { method, headers, body, signal });
        if (response.ok) return response;
        const problem = await response.json().catch(() => ({}));
        if (!RETRYABLE.includes(response.status) || tried === TRIES) throw new ApiError(response.status, problem as object);
        waitMs = 1_000 * Number(response.headers.get("retry-after") ?? "0.5");
      } catch (error) {
        if (error instanceof ApiError || options.signal?.aborted || tried === TRIES) throw error;
      }
      // Another gateway may answer.
      this.urls.push(this.urls.shift() ?? "");
      await sleep(Math.min(waitMs || 0, MAX_DELAY_MS));
    }
  }
}
