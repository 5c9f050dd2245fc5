// WORKERS loops, each of which pops one order and reports that it is being processed and that it is done.
//
// WORKERS, GRPC_PORT, REDIS_URL

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { Redis } from 'ioredis';

const definition = loader.loadSync(fileURLToPath(new URL('orders.proto', import.meta.url)));
const { OrderService } = grpc.loadPackageDefinition(definition).orders;
const client = new OrderService(`127.0.0.1:${process.env.GRPC_PORT}`, grpc.credentials.createInsecure());

function report(orderId, status) {
  return new Promise((done, failed) => {
    client.UpdateStatus({ orderId, status }, (error) => (error ? failed(error) : done()));
  });
}

async function work() {
  const redis = new Redis(process.env.REDIS_URL);
  for (;;) {
    const popped = await redis.brpop('orders', 0);
    const { orderId } = JSON.parse(popped[1]);
    await report(orderId, 'processing');
    await report(orderId, 'completed');
  }
}

await Promise.all(Array.from({ length: Number(process.env.WORKERS) }, work));
