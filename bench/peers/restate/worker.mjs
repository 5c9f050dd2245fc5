// An order on Restate: a virtual object whose handler does no work. Restate stores that it was started, and the handler
// stores the order with its status in one durable step. The status is published as Fastify's worker does it.
//
// WORKER_PORT, ADMIN_URL (of the Restate server), REDIS_URL

import { createServer } from 'node:http2';

import * as restate from '@restatedev/restate-sdk';
import { Redis } from 'ioredis';

// Node 20 does not have it, and the SDK uses it.
Promise.withResolvers ??= () => {
  const resolvers = {};
  resolvers.promise = new Promise((resolve, reject) => Object.assign(resolvers, { resolve, reject }));
  return resolvers;
};

const redis = new Redis(process.env.REDIS_URL);

const publish = (ctx, status) =>
  redis.publish('orders', JSON.stringify({ orderId: String(ctx.request().id), status }));

const order = restate.object({
  name: 'order',
  handlers: {
    process: async (ctx, order) => {
      ctx.set('order', { ...order, status: 'processing' });
      await publish(ctx, 'processing');
      ctx.set('order', { ...order, status: 'completed' });
      // The step ends when the server has stored it, and the changes of the object before it.
      await ctx.run('complete', () => {});
      await publish(ctx, 'completed');
    },
  },
});

const port = Number(process.env.WORKER_PORT);
const handler = restate.createEndpointHandler({ services: [order] });
await new Promise((listening) => createServer(handler).listen(port, '127.0.0.1', listening));
const registered = await fetch(`${process.env.ADMIN_URL}/deployments`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ uri: `http://127.0.0.1:${port}` }),
});
if (!registered.ok) throw new Error(`failed to register the worker: ${await registered.text()}`);
console.log('registered');
