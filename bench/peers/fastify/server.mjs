// Fastify, mysql2, BullMQ and GraphQL Yoga: an order is one INSERT and one job; each change of status is
// one UPDATE and one PUBLISH, which feeds the GraphQL subscription.
//
// HTTP_PORT, MYSQL_URL, REDIS_URL

import { Queue } from 'bullmq';
import Fastify from 'fastify';
import { createPubSub, createSchema, createYoga } from 'graphql-yoga';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';

const pool = mysql.createPool({ uri: process.env.MYSQL_URL, connectionLimit: 20 });
await pool.query(`CREATE TABLE IF NOT EXISTS orders (
  id INT AUTO_INCREMENT PRIMARY KEY, item VARCHAR(255) NOT NULL, quantity INT NOT NULL,
  price DECIMAL(12, 2) NOT NULL, status VARCHAR(20) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)`);
const queue = new Queue('orders', { connection: new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null }) });

async function create({ item, quantity, price }) {
  const insert = 'INSERT INTO orders (item, quantity, price, status) VALUES (?, ?, ?, ?)';
  const [{ insertId: id }] = await pool.execute(insert, [item, quantity, price, 'pending']);
  await queue.add('order', { orderId: id }, { removeOnComplete: true, attempts: 5 });
  return { id, item, quantity, price, status: 'pending' };
}

const pubSub = createPubSub();
const subscriber = new Redis(process.env.REDIS_URL);
await subscriber.subscribe('orders');
subscriber.on('message', (_, message) => {
  const event = JSON.parse(message);
  pubSub.publish('order', String(event.orderId), event);
});

const yoga = createYoga({
  logging: false,
  schema: createSchema({
    typeDefs: `
      type Order { id: ID! item: String! quantity: Int! price: Float! status: String! }
      type StatusEvent { orderId: ID! status: String! }
      type Query { order(id: ID!): Order }
      type Mutation { createOrder(item: String!, quantity: Int!, price: Float!): Order! }
      type Subscription { orderStatus(orderId: ID!): StatusEvent! }`,
    resolvers: {
      Query: { order: async (_, { id }) => (await pool.execute('SELECT * FROM orders WHERE id = ?', [id]))[0][0] },
      Mutation: { createOrder: (_, input) => create(input) },
      Subscription: {
        orderStatus: { subscribe: (_, { orderId }) => pubSub.subscribe('order', orderId), resolve: (event) => event },
      },
    },
  }),
});

const app = Fastify({ logger: false });
const body = {
  type: 'object', required: ['item', 'quantity', 'price'],
  properties: { item: { type: 'string' }, quantity: { type: 'integer', minimum: 1 }, price: { type: 'number' } },
};
app.post('/orders', { schema: { body } }, async (request, reply) => reply.code(201).send(await create(request.body)));
app.get('/orders', async () => (await pool.execute('SELECT * FROM orders ORDER BY id DESC LIMIT 100'))[0]);
app.get('/readyz', async () => 'ok');
app.route({
  url: '/graphql', method: ['GET', 'POST'],
  handler: (request, reply) => yoga.handleNodeRequestAndResponse(request, reply, {}),
});
await app.listen({ port: Number(process.env.HTTP_PORT), host: '127.0.0.1' });
