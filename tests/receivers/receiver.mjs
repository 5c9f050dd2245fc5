// A receiver of webhooks, which verifies each request with the npm package `standardwebhooks`.
//
//     node receiver.mjs --port 0 --secret whsec_… [--status 500 [--times 3]] [--answers FILE]
//
// It prints the port, and then one JSON object for each request: `id`, `timestamp`, `type` (if the body has one),
// `verified`, `status` of the response, and `body` as received. The responses:
//
// - 401 for a request that the library refuses
// - `--status` for the first `--times` requests, or for all of them
// - otherwise that of the file: {"status": 503, "headers": {"Retry-After": "2"}}. It is read for each request, so that a
//   test can change it while the receiver runs; without the file, 204
//
// receiver.py has the same arguments, output and responses.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Webhook } from "standardwebhooks";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    secret: { type: "string" },
    status: { type: "string" },
    times: { type: "string", default: "Infinity" },
    answers: { type: "string" },
  },
});
const webhook = new Webhook(values.secret);
let left = values.status === undefined ? 0 : Number(values.times);

function verify(body, headers) {
  try {
    webhook.verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

function answer(verified) {
  if (!verified) return { status: 401 };
  if (left > 0) {
    left -= 1;
    return { status: Number(values.status) };
  }
  return values.answers && existsSync(values.answers) ? JSON.parse(readFileSync(values.answers, "utf8")) : { status: 204 };
}

function type(body) {
  try {
    return JSON.parse(body)?.type;
  } catch {
    return undefined;
  }
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const verified = verify(body, request.headers);
  const { status, headers } = answer(verified);
  const { "webhook-id": id, "webhook-timestamp": timestamp } = request.headers;
  console.log(JSON.stringify({ id, timestamp: Number(timestamp), type: type(body), verified, status, body }));
  response.writeHead(status, headers).end();
});
server.listen(Number(values.port), "127.0.0.1", () => console.log(server.address().port));
