// The calls against an HTTP server that the test writes.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { ApiError, Client } from "orders-client";

// Runs calls with responses: status, headers, body.
async function withServer(responses, body) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let content = "";
    for await (const bytes of request.setEncoding("utf8")) content += bytes;
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body: content && JSON.parse(content) });
    const [status, responseHeaders, text] = responses.shift();
    response.writeHead(status, responseHeaders).end(typeof text === "string" ? text : JSON.stringify(text));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(new Client({ urls: `http://127.0.0.1:${server.address().port}`, token: "secret" }), requests);
  } finally {
    server.close();
    server.closeAllConnections?.();
  }
}

const order = { item: "Vase", quantity: 1, price: 25 };

test("a create is repeated with the same key", () =>
  withServer(
    [
      [503, { "retry-after": "0" }, { code: "overloaded" }],
      [201, {}, { id: "a" }],
    ],
    async (client, requests) => {
      assert.deepEqual(await client.create(order), { id: "a" });
      const [first, second] = requests;
      assert.deepEqual([first.method, first.url, first.body], ["POST", "/orders", order]);
      assert.equal(first.headers.authorization, "Bearer secret");
      assert.equal(first.headers["idempotency-key"], second.headers["idempotency-key"]);
    },
  ));

test("an error has its code", () =>
  withServer([[404, {}, { code: "order_not_found", detail: "no order" }]], async (client) => {
    await assert.rejects(client.get("a"), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.message, "404 order_not_found: no order");
      return true;
    });
  }));

test("a list reads every page", () =>
  withServer(
    [
      [200, { link: '</orders?after=x>; rel="next", </orders>; rel="first"' }, [{ id: "a" }]],
      [200, {}, [{ id: "b" }]],
    ],
    async (client, requests) => {
      const ids = [];
      const filters = { status: ["failed", "pending"], metadata: { channel: "web" } };
      for await (const { id } of client.list(filters)) ids.push(id);
      assert.deepEqual(ids, ["a", "b"]);
      const urls = requests.map((request) => request.url);
      assert.deepEqual(urls, ["/orders?status=failed%2Cpending&metadata.channel=web", "/orders?after=x"]);
    },
  ));

test("follow resumes after the last event", () => {
  const stream = (...events) =>
    events.map(([sequence, status]) => `id: ${sequence}\ndata: ${JSON.stringify({ sequence, status })}\n\n`).join("");
  return withServer(
    [
      [200, {}, stream([1, "pending"], [2, "processing"])],
      [200, {}, stream([3, "completed"])],
    ],
    async (client, requests) => {
      const sequences = [];
      for await (const { sequence } of client.follow("a")) sequences.push(sequence);
      assert.deepEqual(sequences, [1, 2, 3]);
      assert.deepEqual(requests.map((request) => request.headers["last-event-id"]), ["0", "2"]);
    },
  );
});

test("cancel", () =>
  withServer([[200, {}, { status: "cancelled" }]], async (client, requests) => {
    assert.deepEqual(await client.cancel("a", { reason: "twice" }), { status: "cancelled" });
    assert.deepEqual([requests[0].url, requests[0].body], ["/orders/a/cancel", { reason: "twice" }]);
  }));
