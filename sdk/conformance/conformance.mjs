// Checks a worker in any language against the contract of README.md:
//
//   node sdk/conformance/conformance.mjs [--orders PROGRAM] [--only CASE,CASE] [--skip CASE,CASE] -- COMMAND…
//
// COMMAND starts the worker. PROGRAM is the gateway (default: `orders`). The script starts one gateway with the embedded
// database, or with DATABASE_URL and REDIS_URL two on these servers, and ends with status 0 if all cases succeed.

import { parseArgs } from "node:util";
import { System, equal, eventually } from "./system.mjs";

const cases = {
  async complete(system) {
    const worker = system.worker({ concurrency: 3 });
    const ids = await Promise.all(Array.from({ length: 12 }, () => system.create("sleep", { ms: 100 })));
    for (const id of ids) equal((await system.final(id)).attempt, 1, "the attempt");
    let [running, most] = [0, 0];
    for (const line of worker.lines) {
      running += line.startsWith("started") ? 1 : line.startsWith("ended") ? -1 : 0;
      most = Math.max(most, running);
    }
    equal(most, 3, "the number of handlers that ran at the same time");
  },

  async outcomes(system) {
    system.worker();
    const [retry, after, error, fail] = await Promise.all(
      ["retry", "retry-after", "error", "fail"].map((behaviour) => system.create(behaviour)),
    );
    const [retried, postponed, raised, failed] = [
      await system.final(retry),
      await system.final(after),
      await system.final(error),
      await system.final(fail, "failed"),
    ];
    equal([retried.attempt, retried.failures], [2, 1], "attempts and failures after a retry");
    equal([postponed.attempt, postponed.failures], [2, 0], "attempts and failures after a postponement");
    equal([raised.attempt, raised.failures], [2, 1], "attempts and failures after an error");
    equal([failed.attempt, failed.reason, failed.errorClass], [1, "declined", "card_declined"], "the failed order");
    const [, , first] = await system.request(`/orders/${retry}/events`);
    equal([first.reason, first.errorClass], ["try again", "flaky"], "the event of the retry");
  },

  async kill(system) {
    const victim = system.worker();
    const ids = await Promise.all(Array.from({ length: 4 }, () => system.create("slow-first", { ms: 60_000 })));
    for (const id of ids) await victim.line(`started ${id} 1`);
    await victim.kill();
    system.worker();
    for (const id of ids) equal((await system.final(id)).attempt, 2, "the attempt");
  },

  async freeze(system) {
    const frozen = system.worker({ concurrency: 1 });
    const id = await system.create("slow-first", { ms: 500 });
    await frozen.line(`started ${id} 1`);
    frozen.signal("SIGSTOP");
    const other = system.worker();
    const order = await system.final(id);
    equal([order.attempt, order.worker], [2, other.name], "the attempt of the other worker");
    await other.kill();
    frozen.signal("SIGCONT");
    // The late result changes nothing, and the worker continues.
    equal((await system.final(await system.create())).worker, frozen.name, "the worker after the freeze");
    equal((await system.final(id)).worker, other.name, "the worker of the order");
  },

  async drain(system) {
    const first = system.worker({ concurrency: 1 });
    const running = await system.create("sleep", { ms: 1_000 });
    await first.line(`started ${running} 1`);
    const waiting = await system.create();
    first.signal("SIGTERM");
    equal((await first.exit()).code, 0, "the exit code");
    equal((await system.order(running)).status, "completed", "the order that was running");
    const second = system.worker({ grace: 0.3 });
    // It was on its way, or it was not sent.
    equal((await system.final(waiting)).failures, 0, "failures of the order that was waiting");
    // A handler that exceeds the grace time is released, which is no failure.
    const slow = await system.create("slow-first", { ms: 60_000 });
    await second.line(`started ${slow} 1`);
    second.signal("SIGTERM");
    equal((await second.exit()).code, 0, "the exit code");
    system.worker();
    const released = await system.final(slow);
    equal([released.attempt, released.failures], [2, 0], "attempts and failures of the released order");
  },

  async "drain-job"(system) {
    const proxy = await system.proxy();
    const worker = system.worker({ urls: [proxy.url] });
    const running = await system.create("sleep", { ms: 1_000 });
    await worker.line(`started ${running} 1`);
    // The job is on its way to the worker when the worker shuts down.
    proxy.mode = "hold";
    const sent = await system.create();
    await eventually("the job is sent", async () => (await system.order(sent)).status === "processing");
    worker.signal("SIGTERM");
    await eventually("the job returns to the queue", async () => (await system.order(sent)).status === "pending");
    proxy.release();
    equal((await worker.exit()).code, 0, "the exit code");
    equal((await system.order(running)).status, "completed", "the order that was running");
    equal(worker.lines.includes(`started ${sent} 1`), false, "whether the job has a handler after the shutdown began");
    system.worker();
    const order = await system.final(sent);
    equal([order.attempt, order.failures], [1, 0], "attempts and failures of the job that did not arrive");
  },

  async "drain-gateway"(system) {
    const worker = system.worker();
    const id = await system.create("sleep", { ms: 1_500 });
    await worker.line(`started ${id} 1`);
    for (let i = 0; i < system.gateways.length; i++) await system.restartGateway(i);
    const order = await system.final(id);
    equal([order.attempt, order.failures], [1, 0], "attempts and failures of the order");
    await system.final(await system.create());
    equal(worker.lines.filter((line) => line === `started ${id} 1`).length, 1, "the number of its starts");
  },

  async "kill-gateway"(system) {
    const worker = system.worker();
    const id = await system.create("sleep", { ms: 1_000 });
    await worker.line(`started ${id} 1`);
    for (let i = 0; i < system.gateways.length; i++) {
      await system.gateways[i].process.kill();
      await system.startGateway(i);
    }
    // If the lease expires before the worker has another stream, the order has another attempt.
    await system.final(id);
    equal((await system.final(await system.create())).worker, worker.name, "the worker of the next order");
  },

  async cancel(system) {
    const worker = system.worker({ concurrency: 1 });
    const id = await system.create("sleep", { ms: 60_000 });
    await worker.line(`started ${id} 1`);
    await system.request(`/orders/${id}/cancel`, {});
    await worker.line(`stopped ${id} 1`);
    await system.final(id, "cancelled");
    // The slot is free.
    await system.final(await system.create());
  },

  async expire(system) {
    const proxy = await system.proxy();
    const isolated = system.worker({ urls: [proxy.url], concurrency: 1 });
    const id = await system.create("slow-first", { ms: 60_000 });
    await isolated.line(`started ${id} 1`);
    proxy.mode = "stall";
    const other = system.worker();
    equal((await system.final(id)).worker, other.name, "the worker of the order");
    await other.kill();
    proxy.restore();
    await isolated.line(`stopped ${id} 1`);
    equal((await system.final(await system.create())).worker, isolated.name, "the worker after the isolation");
  },

  async repeat(system) {
    const proxy = await system.proxy();
    const worker = system.worker({ urls: [proxy.url] });
    const id = await system.create("sleep", { ms: 500 });
    await worker.line(`started ${id} 1`);
    // The gateway records the result, and its response is lost.
    proxy.mode = "swallow";
    await system.final(id);
    proxy.restore();
    await system.final(await system.create());
    equal((await system.order(id)).sequence, 3, "the sequence of the order");
    // The worker has the response, so nothing delays its end.
    worker.signal("SIGTERM");
    equal((await worker.exit(4_000)).code, 0, "the exit code");
  },

  async checkpoint(system) {
    const victim = system.worker();
    const id = await system.create("checkpoint");
    await victim.line(`saved ${id} 1`);
    await victim.kill();
    system.worker();
    const order = await system.final(id);
    equal([order.attempt, order.result], [2, { resumed: { step: 1 } }], "the attempt and the result");
  },

  async result(system) {
    system.worker();
    equal((await system.final(await system.create("result"))).result, { item: "Vase", attempt: 1 }, "the result");
  },

  async progress(system) {
    system.worker();
    const id = await system.create("progress", { ms: 60_000 });
    const { progress } = await eventually("the progress is shown", async () => {
      const order = await system.order(id);
      return order.progress && order;
    });
    equal([progress.percent, progress.note], [40, "packing"], "the progress");
    await system.request(`/orders/${id}/cancel`, {});
  },

  async kinds(system) {
    const plain = system.worker();
    const refunds = system.worker({ kinds: ["refund", "exchange"] });
    const ids = await Promise.all(["refund", "exchange", undefined].map((kind) => system.create("complete", { kind })));
    const names = [];
    for (const id of ids) names.push((await system.final(id)).worker);
    equal(names, [refunds.name, refunds.name, plain.name], "the workers of the kinds");
    const unserved = await system.create("complete", { kind: "unserved" });
    await system.final(await system.create());
    equal((await system.order(unserved)).status, "pending", "the status of a kind without a worker");
    system.worker({ kinds: ["*"] });
    await system.final(unserved);
  },

  async "wrong-token"(system) {
    const worker = system.worker({ token: "ord_wrong" });
    const { code } = await worker.exit(15_000);
    if (code === 0 || code === null) throw new Error(`the exit code is ${code}`);
    const text = worker.log + worker.lines.join("\n");
    if (!/UNAUTHENTICATED/i.test(text)) throw new Error(`the output does not name UNAUTHENTICATED: ${text}`);
  },
};

const at = process.argv.indexOf("--");
const command = at < 0 ? [] : process.argv.slice(at + 1);
const { values } = parseArgs({
  args: process.argv.slice(2, at < 0 ? undefined : at),
  options: {
    orders: { type: "string", default: "orders" },
    only: { type: "string", default: Object.keys(cases).join() },
    skip: { type: "string", default: "" },
  },
});
const skip = values.skip.split(",").filter(Boolean);
const unknown = [...values.only.split(","), ...skip].filter((name) => !cases[name]);
const only = values.only.split(",").filter((name) => !skip.includes(name));
if (command.length === 0 || unknown.length > 0) {
  console.error(unknown.length > 0 ? `error: no case ${unknown}` : "error: the command of the worker is missing");
  console.error(`usage: conformance.mjs [--orders PROGRAM] [--only CASES] [--skip CASES] -- COMMAND…\ncases: ${Object.keys(cases)}`);
  process.exit(2);
}

const system = await System.start(values.orders, command);
let failed = 0;
for (const name of only) {
  const began = Date.now();
  let problem;
  try {
    await cases[name](system);
  } catch (error) {
    problem = error;
  }
  console.log(`${problem ? "failed" : "ok"}  ${name}  ${((Date.now() - began) / 1000).toFixed(1)} s`);
  if (problem) {
    failed++;
    console.log(problem.stack);
    for (const worker of system.workers) {
      console.log(`-- ${worker.name}:\n${worker.lines.slice(-20).join("\n")}\n${worker.log.slice(-4_000)}`);
    }
  }
  await system.stopWorkers();
}
await system.stop();
console.log(`${only.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
