// REST with `fetch`: polls the list of events until it ends with a final status.

import { setTimeout as sleep } from "node:timers/promises";
import { rest } from "../operations.mjs";
import { isFinal } from "../timeline.mjs";

export function open({ gateway }) {
  return {
    async follow(orderId, after = 0, seen) {
      for (let last, at = after; ; await sleep(50)) {
        for (const event of await rest(gateway, `/orders/${orderId}/events?after=${at}`)) {
          seen(event);
          [last, at] = [event.status, event.sequence];
        }
        if (isFinal(last ?? (await rest(gateway, `/orders/${orderId}`)).status)) return;
      }
    },
    close() {},
  };
}
