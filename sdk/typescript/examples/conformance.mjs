// The worker under test of sdk/conformance: the order states how it behaves.

import { setTimeout as sleep } from "node:timers/promises";
import { Failed, Retry, Worker } from "orders-client";

const env = process.env;

async function handle(job) {
  const say = (what) => console.log(`${what} ${job.order.orderId} ${job.attempt}`);
  say("started");
  const isFirst = job.attempt === 1;
  let ms = Number(job.order.metadata.ms ?? 0);
  let result;
  switch (job.order.metadata.behaviour) {
    case "retry":
      if (isFirst) throw new Retry("try again", { errorClass: "flaky" });
      break;
    case "retry-after":
      if (isFirst) throw new Retry("busy", { afterMs: 200 });
      break;
    case "error":
      if (isFirst) throw new TypeError("a defect");
      break;
    case "fail":
      throw new Failed("declined", { errorClass: "card_declined" });
    case "slow-first":
      if (!isFirst) ms = 0;
      break;
    case "result":
      result = { item: job.order.lineItems[0].item, attempt: job.attempt };
      break;
    case "progress":
      job.progress(40, "packing");
      break;
    case "checkpoint":
      if (isFirst) {
        await job.saveCheckpoint({ step: 1 });
        say("saved");
        ms = 60_000;
      } else result = { resumed: job.checkpoint };
      break;
  }
  try {
    await sleep(ms, undefined, { signal: job.signal });
  } catch (error) {
    say("stopped");
    throw error;
  }
  say("ended");
  return result;
}

const worker = new Worker({
  name: env.ORDERS_WORKER_ID,
  concurrency: Number(env.ORDERS_CONCURRENCY),
  graceMs: 1_000 * Number(env.ORDERS_GRACE),
  kinds: env.ORDERS_KINDS ? env.ORDERS_KINDS.split(",") : [],
});
await worker.run(handle);
