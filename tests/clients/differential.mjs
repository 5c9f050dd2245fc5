// Compares a gateway with graphql-js: the same documents, schema and orders. Both must accept or reject each document,
// and return the same data. Ends with status 1 for a difference that differential_documents.mjs does not list.
//
//   node differential.mjs               what differs
//   node differential.mjs --markdown    docs/graphql-differences.md
//
//   ORDERS_URL   http://127.0.0.1:3000

import { readFileSync } from "node:fs";
import { isDeepStrictEqual, parseArgs } from "node:util";
import {
  GraphQLError, Kind, buildSchema, execute, getOperationAST, getVariableValues, parse, validate, version,
} from "graphql";
import { GROUPS, REASONS } from "./differential_documents.mjs";
import { gateways } from "./operations.mjs";

const { values: args } = parseArgs({ options: { markdown: { type: "boolean", default: false } } });
const url = `${gateways[0]}/graphql`;
const ACCEPT = "application/graphql-response+json, text/event-stream;q=0.5";
const TIMEOUT_MS = 30_000;

async function post(body, accept = ACCEPT) {
  const headers = { "content-type": "application/json", accept };
  const aborted = new AbortController();
  const timer = setTimeout(() => aborted.abort(), TIMEOUT_MS);
  try {
    const response = await fetch(url, { method: "POST", headers, body, signal: aborted.signal });
    // The stream has started, so the document was accepted.
    if (response.headers.get("content-type").startsWith("text/event-stream")) return { accepted: true };
    const json = await response.json();
    return { accepted: response.status === 200, data: json.data, errors: json.errors };
  } finally {
    clearTimeout(timer);
    aborted.abort();
  }
}

async function ask(query, variables) {
  const { data, errors } = await post(JSON.stringify({ query, variables }));
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

// The orders on both sides.
const ORDERS = [
  { item: "Tea", quantity: 1, price: "9.99", customer: "Ann", currency: "EUR" },
  { lineItems: [{ item: "Cup", quantity: 2, price: "3.00" }, { item: "Pot", quantity: 1, price: "20.00" }], currency: "EUR" },
  { item: "Book", quantity: 3, price: "12.50", customer: "Bob", externalReference: "B-1", priority: "HIGH" },
];
const FIELDS = `id lineItems{item quantity price total} total currency quantity customer externalReference status
  sequence attempt failures maxAttempts priority processAfter reason errorClass createdAt updatedAt
  events{orderId status previousStatus sequence occurredAt attempt reason}`;
const ORDER = `query($id:ID!){order(id:$id){${FIELDS}}}`;

async function prepared() {
  const create = "mutation($i:CreateOrderInput!){createOrder(input:$i){order{id}}}";
  const orders = new Map();
  for (const input of ORDERS) {
    const { id } = (await ask(create, { i: input })).createOrder.order;
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      const { order } = await ask(ORDER, { id });
      if (order.status === "COMPLETED" && order.events.length === 3) {
        orders.set(id, order);
        break;
      }
      if (Date.now() > deadline) throw new Error(`order ${id} is ${order.status}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return orders;
}

const PAGE = `query($first:Int,$after:String,$last:Int,$before:String,$filter:OrderFilter,$sort:OrderSort){
  orders(first:$first,after:$after,last:$last,before:$before,filter:$filter,sort:$sort){
    edges{cursor node{id}} pageInfo{startCursor endCursor hasNextPage hasPreviousPage}}}`;

// Resolvers over these orders. The gateway selects the orders of a page, because the selection is not a part of the
// language; it gets coerced arguments.
function roots(orders) {
  const order = async (id) => {
    // An order of an earlier run.
    if (!orders.has(id)) orders.set(id, (await ask(ORDER, { id })).order);
    const known = orders.get(id);
    if (!known) return null;
    const event = (event) => ({ ...event, __typename: "OrderStatusEvent", order: () => order(id) });
    const events = ({ after }) => known.events.filter(({ sequence }) => sequence > (after ?? 0)).map(event);
    return { ...known, __typename: "Order", events };
  };
  const page = async (window) => {
    const { orders: found } = await ask(PAGE, window);
    const edges = found.edges.map(({ cursor, node }) => ({ cursor, node: order(node.id) }));
    return { edges, nodes: edges.map(({ node }) => node), pageInfo: found.pageInfo };
  };
  return { order: ({ id }) => order(id), node: ({ id }) => order(id), orders: page };
}

// Implements the scalars by the rules of their descriptions.
function withScalars(schema) {
  const literal = (node) => {
    if ([Kind.STRING, Kind.INT, Kind.FLOAT].includes(node.kind)) {
      return node.kind === Kind.STRING ? node.value : Number(node.value);
    }
    throw new GraphQLError("not a string or a number", { nodes: node });
  };
  const scalar = (name, check) => {
    const type = schema.getType(name);
    type.parseValue = check;
    type.parseLiteral = (node) => check(literal(node));
  };
  scalar("Decimal", (value) => {
    const exact = typeof value === "number" && Number.isFinite(value) &&
      (Number.isSafeInteger(value) || `${value}`.replace(/\D/g, "").replace(/^0+/, "").length <= 15);
    if (typeof value === "string" || exact) return value;
    throw new GraphQLError("not a decimal");
  });
  scalar("DateTime", (value) => {
    if (typeof value === "string" && !Number.isNaN(Date.parse(value))) return value;
    throw new GraphQLError("not a time");
  });
  return schema;
}

async function oracle(schema, root, { document, variables, operationName }) {
  let ast;
  let problems;
  try {
    ast = parse(document);
    // Throws for a condition with a variable at the root of a subscription.
    problems = validate(schema, ast);
  } catch (error) {
    return { accepted: false, errors: [error.message] };
  }
  if (problems.length) return { accepted: false, errors: problems.map(({ message }) => message) };
  const operation = getOperationAST(ast, operationName);
  if (!operation) return { accepted: false, errors: ["there is no such operation"] };
  const coerced = getVariableValues(schema, operation.variableDefinitions ?? [], variables);
  if (coerced.errors) return { accepted: false, errors: coerced.errors.map(({ message }) => message) };
  if (operation.operation !== "query") return { accepted: true };
  const result = await execute({ schema, document: ast, rootValue: root, variableValues: variables, operationName });
  const errors = result.errors?.map(({ message }) => message);
  return { accepted: true, data: JSON.parse(JSON.stringify(result.data ?? null)), errors };
}

// Sorts lists of named values, such as the fields of a type, which have no order.
function sorted(value) {
  if (Array.isArray(value)) {
    const items = value.map(sorted);
    return items.every((item) => item?.name) ? items.sort((a, b) => (a.name < b.name ? -1 : 1)) : items;
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sorted(inner)]));
  }
  return value;
}

const orders = await prepared();
const sdl = readFileSync(new URL("../../schema.graphql", import.meta.url), "utf8");
const schema = withScalars(buildSchema(sdl));
const root = roots(orders);
const [id] = orders.keys();

let count = 0;
let compared = 0;
const found = [];
const known = [];
const entries = Object.entries(GROUPS).flatMap(([group, documents]) =>
  documents.map((entry) => ({ group, ...(typeof entry === "string" ? { document: entry } : entry) })));
// Mutations run last, so that the orders do not change during the comparison.
const isMutation = ({ document }) => document.includes("mutation");
for (const entry of [...entries.filter((entry) => !isMutation(entry)), ...entries.filter(isMutation)]) {
  const { group } = entry;
  const test = JSON.parse(JSON.stringify(entry).replaceAll(/"ID"|\bID(?=\\")/g, (match) => match.replace("ID", id)));
  const raw = test.rawVariables ?? JSON.stringify(test.variables ?? {});
  test.variables = JSON.parse(raw);
  const name = test.operationName === undefined ? "" : `,"operationName":${JSON.stringify(test.operationName)}`;
  const [server, expected] = [
    await post(`{"query":${JSON.stringify(test.document)},"variables":${raw}${name}}`),
    await oracle(schema, root, test),
  ];
  count += 1;
  const same = server.accepted === expected.accepted;
  const hasData = test.data !== false && expected.data !== undefined;
  if (same && hasData) compared += 1;
  const agree = same && (!hasData || isDeepStrictEqual(sorted(server.data), sorted(expected.data)) &&
    JSON.stringify(Object.keys(server.data ?? {})) === JSON.stringify(Object.keys(expected.data ?? {})));
  if (agree === !test.differs) {
    if (test.differs) known.push({ ...test, server });
    continue;
  }
  found.push({ group, document: test.document, variables: raw, agree, server, expected });
}

for (const { group, document, variables, agree, server, expected } of found) {
  const what = agree ? "AGREES although a difference is named" : "DIFFERS";
  console.error(`${what} (${group}): ${document} ${variables}`);
  console.error(`  gateway:    ${JSON.stringify(server).slice(0, 400)}\n  graphql-js: ${JSON.stringify(expected).slice(0, 400)}`);
}
console.log(args.markdown ? markdown() : `${count} documents, data compared for ${compared}, ${found.length} differ`);
process.exitCode = found.length || count < 200 ? 1 : 0;

function markdown() {
  const reasons = Object.entries(REASONS).map(([name, reason]) => {
    const of = known.filter(({ differs }) => differs === name);
    const lines = of.map(({ document, variables, server }) =>
      `- ${server.accepted ? "accepted" : "refused"} here: \`${document}\` with \`${JSON.stringify(variables)}\``);
    return [`## ${name[0].toUpperCase()}${name.slice(1)}`, "", reason, ...(lines.length ? ["", ...lines] : [])].join("\n");
  });
  return `# Differences from graphql-js

The same ${count} documents against the program as \`cargo run\` starts it and against
[graphql-js](https://github.com/graphql/graphql-js) ${version} with the same schema and orders: both accept or refuse each of
them, and the data of ${compared} is compared. The documents are in \`tests/clients/differential_documents.mjs\`. These differ, on purpose:

${reasons.join("\n\n")}

This page is written by \`node tests/clients/differential.mjs --markdown\` against a running gateway; a test compares
it with a run.
`;
}
