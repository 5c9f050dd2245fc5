export * from "./client.js";
export { Failed, LeaseLost, Retry } from "./job.js";
export type { Handler, Job, Lease, LineItem, Order } from "./job.js";
export { Worker, WorkerRefused } from "./worker.js";
export type { WorkerOptions } from "./worker.js";
