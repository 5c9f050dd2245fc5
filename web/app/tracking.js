// What the tracking page says, in words for customers.

import { html } from './html.js';
import { count, dateTime, money } from './format.js';

/** Where the order is, for the order as it is now and the steps that it has taken. */
function situation({ order, closed }) {
  if (closed) return closed;
  if (!order) return 'reading';
  const { status, sequence, processAfter } = order;
  if (status !== 'pending') return status;
  if (sequence > 1) return 'again';
  return processAfter && new Date(processAfter) > Date.now() ? 'scheduled' : 'received';
}

const WORDS = {
  missing: ['We cannot find this order', 'Is the address complete? If it is, ask us: we will find your order.'],
  unlinked: ['This link is not complete', 'Open it from our message again, or ask us for a new one.'],
  ended: ['This link is no longer valid', 'Ask us for a new one: we will send it to you.'],
  reading: ['Your order', 'One moment…'],
  received: ['We have received your order', 'We will start on it shortly.'],
  scheduled: ['We have received your order', ({ processAfter }) => `We will start on it on ${dateTime(processAfter)}.`],
  processing: ['We are working on your order', 'You do not need to do anything.'],
  again: ['We are still working on your order', 'It takes a little longer than usual. You do not need to do anything.'],
  completed: ['Your order is complete', 'Thank you!'],
  failed: ['There is a problem with your order', 'We could not complete it. Contact us with the order number, and we will sort it out.'],
  cancelled: ['Your order was cancelled', 'If you did not expect this, contact us with the order number.'],
};

/** What it is called: the shop's own number, or our code. */
const number = (id, order) => order.externalReference ?? order.code ?? id;

/** The title of the page. */
export const headline = (state) => WORDS[situation(state)][0]
  + (state.order && !state.closed ? ` – ${number(state.id, state.order)}` : '');

export function Tracking(state) {
  const { id, order, offline, closed } = state;
  const where = situation(state);
  const [title, more] = WORDS[where];
  return html`
    <main class="card track" data-where=${where} aria-busy=${where === 'reading'}>
      <header>
        <h1>${title}</h1>
        <p class="muted">${typeof more === 'function' ? more(order) : more}</p>
      </header>
      ${order && !closed && html`<${Progress} ...${state} where=${where} /><${Contents} id=${id} order=${order} />`}
    </main>
    <p class="foot muted">${footnote(where, offline)}</p>`;
}

function footnote(where, offline) {
  if (offline) return 'No connection at the moment. We keep trying.';
  return ['received', 'scheduled', 'processing', 'again', 'failed'].includes(where) ? 'This page updates by itself.' : '';
}

const END = { failed: 'Problem', cancelled: 'Cancelled' };

/** The three steps: done, current or still to come. */
function Progress({ order, steps, percent, where }) {
  const last = steps.at(-1);
  const ended = ['completed', 'failed', 'cancelled'].includes(where);
  const started = steps.find((step) => step.status === 'processing');
  // An order that was cancelled before it was started has no second step.
  const worked = where === 'processing' || where === 'again' || (ended && (where !== 'cancelled' || started));
  const now = ended ? 2 : worked ? 1 : 0;
  const list = [
    { name: 'Order received', at: order.createdAt },
    worked || !ended ? { name: 'In progress', at: started?.occurredAt } : null,
    { name: END[where] ?? 'Complete', at: ended && last?.sequence === order.sequence ? last.occurredAt : null },
  ];
  return html`
    <ol class="progress" aria-label="Progress">
      ${list.map((step, n) => step && html`
        <li key=${n} data-step=${n < now || (n === now && where === 'completed') ? 'done' : n === now ? 'now' : 'next'} aria-current=${n === now ? 'step' : undefined}>
          <${Mark} kind=${n === 2 ? where : n < now ? 'completed' : 'none'} />
          <b>${step.name}</b>${n === 1 && where === 'processing' && percent !== null && html` <span class="muted">${percent} %</span>`}
          ${n <= now && step.at && html`<time dateTime=${step.at}>${dateTime(step.at)}</time>`}
          <span class="unseen">${n > now ? ' (still to come)' : n < now ? ' (done)' : ''}</span>
        </li>`)}
    </ol>`;
}

const MARKS = { completed: 'm5.5 10.5 3 3 6-7', failed: 'M10 5.5v5.5M10 14v.5', cancelled: 'm6.5 6.5 7 7m0-7-7 7' };

const Mark = ({ kind }) => html`
  <svg class="mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
    <circle cx="10" cy="10" r="9" />${MARKS[kind] && html`<path d=${MARKS[kind]} />`}
  </svg>`;

function Contents({ id, order }) {
  return html`
    <section aria-labelledby="contents">
      <h2 id="contents">Order ${number(id, order)}</h2>
      <p class="muted">Placed on <time dateTime=${order.createdAt}>${dateTime(order.createdAt)}</time></p>
      <ul class="items">
        ${order.lineItems.map((line, index) => html`
          <li key=${index}><span>${count(line.quantity)} × ${line.item}</span>
            <span class="muted">${money(line.price, order.currency)}${line.quantity > 1 && ' each'}</span></li>`)}
      </ul>
      ${order.notes?.length > 0 && html`<ul class="items" aria-label="News">${order.notes.map((note, index) => html`
        <li key=${index}><span>${note.milestone && html`<b>${note.milestone}</b> `}${note.text}</span> <time class="muted" dateTime=${note.createdAt}>${dateTime(note.createdAt)}</time></li>`)}</ul>`}
      <p class="total"><span>Total</span> <b>${money(order.total, order.currency)}</b></p>
    </section>`;
}
