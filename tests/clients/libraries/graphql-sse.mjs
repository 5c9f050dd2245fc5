// graphql-sse in distinct connections mode: a separate stream for each operation.

import { createClient } from "graphql-sse";
import { authorization } from "../operations.mjs";
import { over } from "./graphql-ws.mjs";

export function open({ gateway }, options = {}) {
  const url = `${gateway}/graphql`;
  return over(createClient({ url, headers: authorization, singleConnection: false, ...options }));
}
