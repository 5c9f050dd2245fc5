// Follows orders with one of the client libraries. Prints their events from the first one, a line of JSON each, until the
// gateway ends the streams after the final statuses. Ends with status 0 if each timeline is complete.
//
//   node follow.mjs LIBRARY ORDER_ID…
//
//   ORDERS_URL   http://127.0.0.1:3000
//   GRPC_ADDR    127.0.0.1:50051

import { libraries } from "./libraries/index.mjs";
import { follow, gateways, grpcAddresses } from "./operations.mjs";
import { asRest, checkTimeline } from "./timeline.mjs";

const [name, ...orderIds] = process.argv.slice(2);
const library = libraries[name];
if (!library || orderIds.length === 0) {
  console.error(`usage: node follow.mjs LIBRARY ORDER_ID…
libraries: ${Object.keys(libraries).join(", ")}`);
  process.exit(2);
}
const client = library.open({ gateway: gateways[0], grpc: grpcAddresses[0] });
try {
  await Promise.all(orderIds.map(async (orderId) => {
    const events = [];
    await follow(client, orderId, 0, (event) => {
      events.push(asRest(event, library.graphql));
      console.log(JSON.stringify(event));
    });
    checkTimeline(orderId, events);
  }));
} catch (error) {
  console.error(`error: ${error.message || error.reason || error}`);
  process.exitCode = 1;
}
await client.close();
