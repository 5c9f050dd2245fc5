// The newest orders. A row lights up when its order changes.

import { PAGE } from './api.js';
import { html } from './html.js';
import { isAuthenticated, rows, set, state } from './state.js';
import { reread } from './live.js';
import { ago, count, dateTime, money, statusName, title, waiting } from './format.js';

export function List() {
  const orders = rows();
  return html`
    <section class="card list" aria-labelledby="list-title">
      <h2 id="list-title">Newest orders</h2>
      ${state.loadError && html`<p class="error notice" role="alert">The list could not be read: ${state.loadError}</p>`}
      ${orders.length > 0 && html`<${Rows} orders=${orders} />`}
      ${orders.length === 0 && (state.loaded ? html`<${Empty} />` : !state.loadError && html`<${Loading} />`)}
      ${state.more && html`<button type="button" class="quiet older" onClick=${older}>Show older orders</button>`}
    </section>`;
}

function older() {
  set({ wanted: state.wanted + PAGE });
  reread();
}

/** The rows as drawn last: preact skips what is the same, and most rows are. */
let drawn = new Map();

function Rows({ orders }) {
  const rows = new Map();
  for (const order of orders) {
    const selected = state.open?.id === order.id;
    const age = ago(order.createdAt);
    const waits = waiting(order, state.queue);
    const last = drawn.get(order.id);
    const same = last && last.order === order && last.selected === selected && last.age === age && last.waits === waits;
    rows.set(order.id, same ? last : { order, selected, age, waits, vnode: html`<${Row} key=${order.id} order=${order} selected=${selected} age=${age} waits=${waits} />` });
  }
  drawn = rows;
  return html`<ul class="rows">${[...rows.values()].map((row) => row.vnode)}</ul>`;
}

function Row({ order, selected, age, waits }) {
  // Two names for one animation, in turn: a changed name is what makes a browser play it again.
  const lit = order.lit ? (order.sequence % 2 ? 'odd' : 'even') : undefined;
  const several = order.lineItems.length > 1;
  return html`
    <li data-status=${order.status} data-lit=${lit}>
      <a id="row-${order.id}" href="#/orders/${order.id}" aria-current=${selected ? 'true' : undefined}>
        <span class="what"><span class="name">${!several && html`<span class="units">${count(order.quantity)} ×</span> `}${title(order)}${
          several && html` <span class="units">(${count(order.quantity)} units)</span>`}</span>
          <span class="who">${order.customer ?? order.externalReference ?? `#${order.id.slice(-8)}`}${waits && html` · <span class="waits">${waits}</span>`}</span></span>
        <${Pill} status=${order.status} />
        <span class="total">${money(order.total, order.currency)}</span>
        <time dateTime=${order.createdAt} title=${dateTime(order.createdAt)}>${age}</time>
      </a>
    </li>`;
}

export const Pill = ({ status }) => html`<span class="pill" data-status=${status}>${statusName(status)}</span>`;

const Loading = () => html`<p class="notice muted">Reading the list…</p>`;

function Empty() {
  const curl = `curl -X POST ${new URL('orders', document.baseURI)} \\
${isAuthenticated() ? `  -H "Authorization: Bearer $ORDERS_TOKEN" \\
` : ''}  -H 'Content-Type: application/json' \\
  -d '{"item":"Laptop","quantity":2,"price":1299.99}'`;
  return html`
    <div class="empty">
      <p><strong>No orders yet</strong></p>
      <p class="muted">Create one above, or paste this into a terminal. It appears here by itself.</p>
      <pre tabindex="0"><code>${curl}</code></pre>
    </div>`;
}
