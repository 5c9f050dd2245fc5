// A BullMQ worker that does no work: two changes of status for each order.
//
// WORKERS (jobs at the same time), MYSQL_URL, REDIS_URL

import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';

const pool = mysql.createPool({ uri: process.env.MYSQL_URL, connectionLimit: 20 });
const redis = new Redis(process.env.REDIS_URL);

async function change(orderId, status) {
  await pool.execute('UPDATE orders SET status = ? WHERE id = ?', [status, orderId]);
  await redis.publish('orders', JSON.stringify({ orderId, status }));
}

const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const work = async ({ data: { orderId } }) => {
  await change(orderId, 'processing');
  await change(orderId, 'completed');
};
new Worker('orders', work, { connection, concurrency: Number(process.env.WORKERS) });
