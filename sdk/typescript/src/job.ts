// What a handler sees of its job, and how it ends.

const MAX_JSON = 64 * 1024;
const MAX_REASON = 500;

export interface LineItem {
  item: string;
  quantity: number;
  price: string;
}

/** An order, as docs/reference/grpc.md describes it. */
export interface Order {
  orderId: string;
  kind: string;
  status: string;
  lineItems: LineItem[];
  currency: string;
  total: string;
  quantity: number;
  customer?: string;
  externalReference?: string;
  priority: string;
  attempt: number;
  failures: number;
  maxAttempts: number;
  createdAt: string;
  metadata: Record<string, string>;
}

export interface Lease {
  orderId: string;
  leaseToken: string;
}

export interface Job {
  order: Order;
  lease: Lease;
  /** 1 for the first one. */
  attempt: number;
  /** What an earlier attempt saved last. */
  checkpoint: unknown;
  traceparent?: string;
  /** Aborted when the handler has to stop: the order was cancelled, its lease is lost, or the worker ends. */
  signal: AbortSignal;
  /** Shows how far the attempt is: 0 to 100 percent, and a note of at most 200 characters. It is not durable. */
  progress(percent?: number, note?: string): void;
  /** Saves JSON of at most 64 KiB for the next attempt; it is durable when the promise is fulfilled. */
  saveCheckpoint(value: unknown): Promise<void>;
}

/** Returns the result of the order: JSON of at most 64 KiB, or nothing. */
export type Handler = (job: Job) => Promise<unknown> | unknown;

/** The attempt failed, and the gateway retries the order. */
export class Retry extends Error {
  override name = "Retry";
  /** `afterMs`: when to try again, as a called service asked for; the attempt then does not count as a failure. */
  constructor(reason = "", readonly options: { afterMs?: number; errorClass?: string } = {}) {
    super(reason);
  }
}

/** The order failed permanently. */
export class Failed extends Error {
  override name = "Failed";
  constructor(reason = "", readonly options: { errorClass?: string } = {}) {
    super(reason);
  }
}

/** The order was cancelled, or another worker has it: the result of this attempt is refused. */
export class LeaseLost extends Error {
  override name = "LeaseLost";
}

/** Returns the outcome of an error as a field of Report. */
export function failure(error: unknown): Record<string, unknown> {
  const reason = (error instanceof Failed || error instanceof Retry ? error.message : String(error)).slice(0, MAX_REASON);
  if (error instanceof Failed) return { failed: { reason, ...error.options } };
  if (error instanceof Retry) return { retry: { reason, ...error.options } };
  return { retry: { reason, errorClass: error instanceof Error ? error.name : "error" } };
}

/** Returns the JSON of a result or a checkpoint. */
export function encode(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? "null";
  } catch (error) {
    throw new TypeError(`the result or checkpoint is no JSON: ${(error as Error).message}`);
  }
  if (Buffer.byteLength(text) > MAX_JSON) throw new RangeError(`the JSON of a result or a checkpoint is longer than ${MAX_JSON} bytes`);
  return text;
}
