// Checks a gateway with the audits of the package graphql-http (GraphQL over HTTP). Ends with status 1 unless every audit
// is ok: SHOULD and MAY count like MUST.
//
//   node audit.mjs               counts, names and results
//   node audit.mjs --markdown    docs/graphql-audits.md
//
//   ORDERS_URL   http://127.0.0.1:3000

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { auditServer } from "graphql-http";
import { gateways } from "./operations.mjs";

const LEVELS = ["MUST", "SHOULD", "MAY"];
const { values: args } = parseArgs({ options: { markdown: { type: "boolean", default: false } } });

const manifest = new URL("node_modules/graphql-http/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8"));
const url = `${gateways[0]}/graphql`;

let results;
try {
  results = await auditServer({ url });
} catch (error) {
  console.error(`error: ${url} cannot be audited: ${error.cause?.message || error.message}`);
  process.exit(1);
}
const audits = results.map(({ id, name, status, reason }) => {
  const [level] = name.split(" ", 1);
  return { id, level, name: name.slice(level.length + 1), status, reason };
});
const rank = ({ level, id }) => `${LEVELS.indexOf(level)} ${id}`;
audits.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
const counts = LEVELS.map((level) => {
  const all = audits.filter((audit) => audit.level === level);
  return { level, total: all.length, ok: all.filter(({ status }) => status === "ok").length };
});
const count = counts.map(({ level, total, ok }) => `${ok} of ${total} ${level}`).join(", ");

console.log(args.markdown ? markdown() : plain());
const failed = audits.filter(({ status }) => status !== "ok");
for (const { id, level, name, status, reason } of failed) {
  console.error(`FAILED ${id} ${level} ${name}: ${status}: ${reason}`);
}
// A level without audits is an error, because nothing was checked.
process.exitCode = failed.length || counts.some(({ total }) => total === 0) ? 1 : 0;

function plain() {
  const lines = audits.map(({ id, level, name, status }) => `${status} ${id} ${level} ${name}`);
  return [...lines, `graphql-http ${version}: ${count}`].join("\n");
}

function markdown() {
  const cell = (text) => text.replaceAll("|", "\\|");
  return `# GraphQL over HTTP

The audits of [graphql-http](https://github.com/graphql/graphql-http) ${version}, the reference of the
[GraphQL over HTTP specification](https://graphql.github.io/graphql-over-http/), against the program as
\`cargo run\` starts it: ${count}.

A test runs them and fails when one of them is not ok, or when this page says something else. With
\`cargo run\` in another terminal, this repeats them and writes the page:

\`\`\`sh
npm ci --prefix tests/clients
node tests/clients/audit.mjs --markdown > docs/graphql-audits.md
\`\`\`

| id | level | audit | result |
|---|---|---|---|
${audits.map(({ id, level, name, status }) => `| ${id} | ${level} | ${cell(name)} | ${status} |`).join("\n")}`;
}
