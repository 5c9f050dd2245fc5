// graphql-sse in distinct connections mode: a separate stream for each operation.

import { createClient } from "graphql-sse";
import { over } from "./graphql-ws.mjs";

export function open({ gateway }, options = {}) {
  return over(createClient({ url: `${gateway}/graphql`, singleConnection: false, ...options }));
}
