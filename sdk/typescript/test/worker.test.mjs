// The worker against a gateway that the test writes. The conformance script has the cases with a real one.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import { Failed, LeaseLost, Retry, Worker, WorkerRefused } from "orders-client";
import { FakeGateway } from "./fake_gateway.mjs";

// Runs a worker with a gateway and its first stream.
async function withWorker(handler, options, body) {
  const gateway = await FakeGateway.start();
  const worker = new Worker({ urls: gateway.url, graceMs: 200, warn: () => {}, ...options });
  const run = worker.run(handler);
  try {
    await body(await gateway.streams.next(), gateway, worker);
  } finally {
    worker.stop();
    gateway.stop();
    await run;
  }
}

const lease = (orderId) => ({ orderId, leaseToken: "00000000000000aa" });

test("hello and credits", () =>
  withWorker(
    (job) => sleep(60_000, undefined, { signal: job.signal }),
    { token: "secret", kinds: ["refund"], concurrency: 2, name: "w" },
    async (stream) => {
      const { protocol, workerId, slots, kinds } = stream.hello;
      assert.deepEqual({ protocol, workerId, slots, kinds }, { protocol: 1, workerId: "w", slots: 2, kinds: ["refund"] });
      assert.equal(stream.token, "Bearer secret");
      stream.sendJob("a");
      assert.equal((await stream.next("received")).received, 1);
      assert.equal(stream.credits, 2);
      stream.call.write({ cancel: { leases: [lease("a")] } });
    },
  ));

test("outcomes", () => {
  const handler = (job) => {
    switch (job.order.metadata.name) {
      case "completed":
        return { shipped: true };
      case "retry":
        throw new Retry("busy", { afterMs: 1_500, errorClass: "busy" });
      case "failed":
        throw new Failed("declined", { errorClass: "card_declined" });
    }
    throw new TypeError("defect");
  };
  return withWorker(handler, {}, async (stream) => {
    const expected = {
      completed: { result: '{"shipped":true}' },
      retry: { reason: "busy", afterMs: 1_500, errorClass: "busy" },
      failed: { reason: "declined", errorClass: "card_declined" },
      error: { reason: "TypeError: defect", errorClass: "TypeError" },
    };
    for (const [name, outcome] of Object.entries(expected)) {
      stream.sendJob(name);
      const report = await stream.record();
      assert.deepEqual({ ...report.lease }, lease(name));
      const { _afterMs, _result, ...found } = report[report.outcome];
      assert.deepEqual(found, outcome);
    }
  });
});

test("results are repeated on the next stream", () =>
  withWorker(() => {}, {}, async (stream, gateway) => {
    stream.sendJob("a");
    const first = await stream.next("results");
    stream.call.end();
    const next = await gateway.streams.next();
    assert.deepEqual(next.hello.running.map((lease) => lease.orderId), ["a"]);
    assert.deepEqual(await next.record(), first.reports[0]);
  }));

test("a silent gateway is replaced, and jobs continue", () => {
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  return withWorker(() => finished, {}, async (stream, gateway) => {
    stream.sendJob("a");
    // It receives heartbeats and sends none.
    await stream.next("heartbeat");
    const next = await gateway.streams.next();
    assert.deepEqual(next.hello.running.map((lease) => lease.orderId), ["a"]);
    finish();
    assert.equal((await next.record()).outcome, "completed");
  });
});

test("drain of the gateway", () =>
  withWorker(() => {}, {}, async (stream, gateway) => {
    stream.call.write({ drain: { reason: "shutting_down" } });
    const next = await gateway.streams.next();
    next.sendJob("a");
    assert.equal((await next.record()).outcome, "completed");
  }));

test("a cancelled job stops its handler and frees its slot", () => {
  let stopped;
  const reason = new Promise((resolve) => (stopped = resolve));
  const handler = async (job) => {
    if (job.order.metadata.name === "b") return;
    job.signal.addEventListener("abort", () => stopped(job.signal.reason));
    await job.saveCheckpoint(1);
  };
  return withWorker(handler, { concurrency: 1 }, async (stream) => {
    stream.sendJob("a");
    await stream.next("checkpoint");
    stream.call.write({ cancel: { leases: [lease("a")] } });
    assert.ok((await reason) instanceof LeaseLost);
    stream.sendJob("b");
    assert.equal((await stream.record()).lease.orderId, "b");
  });
});

test("checkpoint and progress", () => {
  const handler = async (job) => {
    job.progress(40, "packing");
    await job.saveCheckpoint({ step: job.checkpoint.step + 1 });
    return job.checkpoint;
  };
  return withWorker(handler, {}, async (stream, gateway) => {
    stream.sendJob("a", { attempt: 2, checkpoint: '{"step":1}' });
    const progress = await stream.next("progress");
    assert.deepEqual([progress.percent, progress.note, progress.lease.orderId], [40, "packing", "a"]);
    const checkpoint = await stream.next("checkpoint");
    assert.equal(checkpoint.json, '{"step":2}');
    // Its response is lost with the stream.
    stream.call.end();
    const next = await gateway.streams.next();
    assert.deepEqual(await next.next("checkpoint"), checkpoint);
    next.call.write({ checkpointRecorded: { number: checkpoint.number } });
    assert.equal((await next.record()).completed.result, '{"step":1}');
  });
});

test("the shutdown releases what exceeds the grace time, and ignores further jobs", async () => {
  const handler = (job) => sleep(60_000, undefined, { signal: job.signal });
  await withWorker(handler, {}, async (stream, _, worker) => {
    stream.sendJob("a");
    await stream.next("received");
    worker.stop();
    await stream.next("drain");
    stream.sendJob("late");
    // Without a confirmation the late one returns to the queue.
    const report = await stream.record();
    assert.deepEqual([report.lease.orderId, report.outcome], ["a", "released"]);
  });
});

test("a refused worker ends", async () => {
  const gateway = await FakeGateway.start();
  gateway.refusal = status.UNAUTHENTICATED;
  await assert.rejects(new Worker({ urls: gateway.url }).run(() => {}), (error) => {
    return error instanceof WorkerRefused && /UNAUTHENTICATED/.test(error.message);
  });
  gateway.stop();
});

test("both module systems have the same exports", async () => {
  const required = createRequire(import.meta.url)("orders-client");
  assert.deepEqual(Object.keys(required).sort(), Object.keys(await import("orders-client")).sort());
});
