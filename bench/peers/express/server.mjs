// Express and Sequelize: an order is one INSERT and one LPUSH; workers report over unary gRPC, and each
// report is one UPDATE and one PUBLISH.
//
// HTTP_PORT, GRPC_PORT, MYSQL_URL, REDIS_URL

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import express from 'express';
import { Redis } from 'ioredis';
import { DataTypes, Sequelize } from 'sequelize';

const sequelize = new Sequelize(process.env.MYSQL_URL, { logging: false, pool: { max: 20 } });
const Order = sequelize.define('Order', {
  id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
  item: { type: DataTypes.STRING, allowNull: false },
  quantity: { type: DataTypes.INTEGER, allowNull: false },
  price: { type: DataTypes.DECIMAL(12, 2), allowNull: false },
  status: { type: DataTypes.STRING, allowNull: false, defaultValue: 'pending' },
}, { tableName: 'orders' });
await sequelize.sync();
const redis = new Redis(process.env.REDIS_URL);

const app = express();
app.use(express.json());
app.post('/orders', async (request, response) => {
  const { item, quantity, price } = request.body;
  const order = await Order.create({ item, quantity, price });
  await redis.lpush('orders', JSON.stringify({ orderId: order.id, quantity }));
  response.status(201).json(order);
});
app.get('/orders', async (request, response) => {
  response.json(await Order.findAll({ order: [['id', 'DESC']], limit: 100 }));
});
app.get('/readyz', (request, response) => response.send('ok'));

const definition = loader.loadSync(fileURLToPath(new URL('orders.proto', import.meta.url)));
const { OrderService } = grpc.loadPackageDefinition(definition).orders;
const server = new grpc.Server();
server.addService(OrderService.service, {
  async UpdateStatus({ request: { orderId, status } }, reply) {
    try {
      await Order.update({ status }, { where: { id: orderId } });
      await redis.publish('orders', JSON.stringify({ orderId, status }));
      reply(null, { ok: true });
    } catch (error) {
      reply(error);
    }
  },
});
await new Promise((bound, failed) => {
  const address = `127.0.0.1:${process.env.GRPC_PORT}`;
  server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => (error ? failed(error) : bound()));
});
app.listen(Number(process.env.HTTP_PORT), '127.0.0.1');
