// The libraries by name. `graphql`: statuses are in upper case. `latest`: without a cursor they begin with the latest
// event; REST begins with the first. `codes`: the codes of an order that does not exist, and of an invalid id. `empty`:
// whether they can follow a stream without an event; urql reports one over server-sent events as invalid JSON.

import * as apollo from "./apollo.mjs";
import * as eventsource from "./eventsource.mjs";
import * as graphqlSse from "./graphql-sse.mjs";
import * as graphqlWs from "./graphql-ws.mjs";
import * as grpcJs from "./grpc-js.mjs";
import * as restList from "./rest.mjs";
import * as legacy from "./subscriptions-transport-ws.mjs";
import * as urql from "./urql.mjs";

const graphql = (module, options) => ({
  graphql: true,
  latest: true,
  empty: true,
  codes: ["order_not_found", "invalid_order_id"],
  open: (addresses) => module.open(addresses, options),
});
const rest = { graphql: false, latest: false, empty: true, codes: ["order_not_found", "invalid_order_id"] };
const grpc = { graphql: false, latest: true, empty: true, codes: ["order_not_found", "invalid_order_id"] };

export const libraries = {
  "graphql-ws": graphql(graphqlWs),
  "subscriptions-transport-ws": graphql(legacy),
  "graphql-sse": graphql(graphqlSse),
  apollo: graphql(apollo),
  "apollo-persisted": graphql(apollo, { persisted: true }),
  urql: graphql(urql),
  "urql-sse": { ...graphql(urql, { fetchSubscriptions: true }), empty: false },
  eventsource: { ...rest, open: eventsource.open },
  rest: { ...rest, open: restList.open },
  "grpc-js": { ...grpc, open: grpcJs.open },
};
