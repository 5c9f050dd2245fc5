// A worker in JavaScript: it pops jobs from the Redis list and reports the statuses over gRPC. It uses no generated code;
// the .proto file is read at run time.
//
//   node worker.mjs [--count N] [--timeout SECONDS] [--without-lease-token]
//
// --without-lease-token reports without the token, which needs a gateway with --allow-tokenless-reports.
// It ends with status 0 after N orders (default 1; 0: never), and with 1 after an error or the timeout (default: none).
//
//   REDIS_URL        redis://127.0.0.1:6379/
//   GRPC_ADDR        127.0.0.1:50051
//   ORDERS_QUEUE_KEY orders:queue
//   ORDERS_TOKEN     API key with the scope work, if the gateway requires authentication

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { status } from "@grpc/grpc-js";
import { Redis } from "ioredis";
import { call, orderService } from "./grpc.mjs";

const { values: args } = parseArgs({
  options: {
    count: { type: "string", default: "1" },
    timeout: { type: "string", default: "0" },
    "without-lease-token": { type: "boolean", default: false },
  },
});
const count = wholeNumber("--count", args.count);
const timeoutSeconds = wholeNumber("--timeout", args.timeout);
const queueKey = process.env.ORDERS_QUEUE_KEY || "orders:queue";
const redisUrl = process.env.REDIS_URL || "redis://127.0.0.1:6379/";

function wholeNumber(name, text) {
  if (!/^\d+$/.test(text)) fail(`${name} takes a whole number, not '${text}'`);
  return Number(text);
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

// Replace this with the real work.
async function work(order) {
  const items = order.lineItems.map((line) => `${line.quantity} × ${line.item}`).join(", ");
  console.log(`working on ${order.orderId}: ${items}`);
  await sleep(100);
}

// Processes an order, and returns whether this worker has completed it.
async function handle(service, orderId) {
  const updateStatus = (request) => call(service, "updateStatus", { orderId, ...request });

  let started;
  try {
    started = await updateStatus({ status: "processing" });
  } catch (error) {
    // The list contains hints, which can be repeated or late. The gateway then refuses the start, and there is nothing to
    // do.
    if (error.code !== status.FAILED_PRECONDITION && error.code !== status.NOT_FOUND) throw error;
    console.log(`skipped ${orderId}: ${error.details}`);
    return false;
  }

  // This worker has the attempt until the lease ends. Longer work renews the lease with its token.
  const leaseToken = args["without-lease-token"] ? "" : started.leaseToken;
  const renewal = setInterval(() => {
    updateStatus({ status: "processing", leaseToken: started.leaseToken }).catch((error) =>
      console.error(`the lease of ${orderId} was not renewed: ${error.details}`),
    );
  }, Number(started.leaseMs) / 3);
  try {
    await work(started.order);
  } catch (error) {
    // `pending` requests another attempt later; `failed` would be final.
    await updateStatus({ status: "pending", leaseToken, reason: String(error.message ?? error) });
    return false;
  } finally {
    clearInterval(renewal);
  }
  const { order } = await updateStatus({ status: "completed", leaseToken });
  console.log(`${order.status} ${orderId}`);
  return true;
}

if (timeoutSeconds > 0) {
  const timer = setTimeout(() => fail(`not done after ${timeoutSeconds} s`), timeoutSeconds * 1000);
  timer.unref();
}

const service = orderService();
const redis = new Redis(redisUrl, { lazyConnect: true, maxRetriesPerRequest: null });
redis.on("error", (error) => console.error(`redis: ${error.message || error.code}`));

try {
  await redis.connect().catch(() => fail(`no Redis at ${new URL(redisUrl).host}`));
  for (let done = 0; count === 0 || done < count; ) {
    const popped = await redis.brpop(queueKey, 1);
    if (popped === null) continue;
    const { orderId } = JSON.parse(popped[1]);
    if (await handle(service, orderId)) done += 1;
  }
} catch (error) {
  fail(error.details || error.message);
}
redis.disconnect();
service.close();
