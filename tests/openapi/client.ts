// The code of a user of the generated client: the orders of the README, and each operation once. It must compile without
// casts, and run.
import assert from 'node:assert/strict';
import createClient from 'openapi-fetch';
import type { components, paths } from './generated/schema.js';

const baseUrl = process.env.ORDERS_URL ?? 'http://127.0.0.1:3000';
const api = createClient<paths>({ baseUrl });

type Order = components['schemas']['Order'];
type NewOrder = components['schemas']['NewOrder'];

// The short form, with a price as number and as string.
const short = await api.POST('/orders', { body: { item: 'Laptop', quantity: 2, price: 1299.99 } });
assert.equal(short.response.status, 201);
const order: Order | undefined = short.data;
assert(order);
assert.equal(order.status, 'pending');
const text = await api.POST('/orders', { body: { item: 'Tea', quantity: 2, price: '3.50' } });
assert.equal(text.data?.total, 7);

// An order with all fields.
const full: NewOrder = {
  lineItems: [
    { item: 'Laptop', quantity: 1, price: '1299.99' },
    { item: 'Mouse', quantity: 2, price: '19.50' },
  ],
  currency: 'EUR', customer: 'ann@example.com', externalReference: 'WEB-1001', maxAttempts: 3,
  priority: 'high', processAfter: '2026-01-31T12:00:00Z',
};
const created = await api.POST('/orders', { params: { header: { 'Idempotency-Key': 'checkout-1001' } }, body: full });
assert.equal(created.response.status, 201);
const again = await api.POST('/orders', { params: { header: { 'Idempotency-Key': 'checkout-1001' } }, body: full });
assert.equal(again.data?.id, created.data?.id);

// The fields of a response can be sent as the next order.
const repeated = await api.POST('/orders', {
  body: { item: order.item, quantity: order.quantity, price: order.price, currency: order.currency, priority: order.priority },
});
assert.equal(repeated.response.status, 201);

// Refusals are typed as well.
const refused = await api.POST('/orders', { body: { item: 'x', quantity: 0, price: 1 } });
assert.equal(refused.response.status, 422);
assert.equal(refused.error?.code, 'invalid_order');
assert.equal(refused.error?.errors?.[0]?.pointer, '/quantity');

const bulk = await api.POST('/orders/bulk', {
  params: { query: { errorPolicy: 'REJECT_FAILED_ROWS' } },
  body: [full, { item: 'Mouse', quantity: 0, price: 25 }],
});
assert.equal(bulk.response.status, 207);
const [good, bad] = bulk.data?.results ?? [];
assert(good && bad);
assert.equal(good.order?.customer, 'ann@example.com');
assert.equal(good.orderId, good.order?.id);
assert.equal(bad.status, 'invalid');

const list = await api.GET('/orders', {
  params: { query: { status: ['pending', 'processing', 'completed'], customer: 'ann@example.com', currency: 'EUR',
    sort: '-total', totalFrom: '100', itemContains: 'mouse', limit: 10 } },
});
assert((list.data ?? []).every((one) => 'customer' in one && one.customer === 'ann@example.com'));
assert((list.data ?? []).length >= 2);

const path = { id: order.id };
const waited = await api.GET('/orders/{id}', { params: { path, query: { waitForSequence: 3, timeout: 55 } } });
assert.equal(waited.data?.status, 'completed');
const events = await api.GET('/orders/{id}/events', { params: { path, query: { after: 1 } } });
// The same path answers with a stream of server-sent events, which is a string to the generator.
assert(Array.isArray(events.data));
assert.deepEqual(events.data.map((event) => event.status), ['processing', 'completed']);

const late = await api.POST('/orders/{id}/cancel', { params: { path }, body: { reason: 'too late' } });
assert.equal(late.error?.orderStatus, 'completed');
const redriven = await api.POST('/orders/{id}/redrive', { params: { path } });
assert.equal(redriven.error?.code, 'order_not_failed');
const dead = await api.GET('/dead-letters', { params: { query: { errorClass: 'http_503' } } });
assert.deepEqual(dead.data, []);
const all = await api.POST('/dead-letters/redrive', { body: { filter: { totalFrom: 1.5 }, dryRun: true } });
assert.equal(all.data?.count, 0);

const paused = await api.POST('/queue/pause', { body: { requestedBy: 'ann' } });
assert.equal(paused.data?.pausedBy, 'ann');
assert.equal((await api.POST('/queue/resume')).data?.paused, false);
assert.equal((await api.GET('/queue')).data?.counts?.limit, 100_000);
assert.equal((await api.GET('/livez')).data?.status, 'ok');
assert.equal((await api.GET('/readyz', { params: { query: { verbose: '' } } })).data?.checks?.length, 6);

// Code that violates the document does not compile.
// @ts-expect-error an order needs a price
const priceless: NewOrder = { item: 'x', quantity: 1 };
// @ts-expect-error there is no such priority
const urgent: NewOrder = { item: 'x', quantity: 1, price: 1, priority: 'urgent' };
assert(priceless && urgent);
console.log('the generated client works');
