// Every step of an order's life with the time that it spent in it.

import { html } from './html.js';
import { dateTime, duration, statusName, time } from './format.js';
import { isFinal } from './state.js';

/** Steps that took less are still shown as wide as this part of the whole. */
const NARROWEST = 0.015;
/** Between two pieces of the bar, in hundredths of it. */
const GAP = 0.6;

/** Each step with the time that the order spent in it; the last one of an unfinished order still counts. */
export function Timeline({ steps }) {
  const timed = steps.map((step, index) => {
    const end = steps[index + 1]?.occurredAt;
    const going = !end && !isFinal(step.status);
    const ms = Math.max(0, (end ? new Date(end) : Date.now()) - new Date(step.occurredAt));
    return { ...step, going, ms: end || going ? ms : null };
  });
  const spent = timed.filter((step) => step.ms !== null);
  const total = spent.reduce((sum, step) => sum + step.ms, 0);
  return html`
    <${Spent} spent=${spent} total=${total} />
    <ol class="timeline">
      ${timed.map((step) => html`
        <li key=${step.sequence} data-status=${step.status} class=${step.going ? 'going' : undefined}>
          <p class="step"><b>${statusName(step.status)}</b> <span class="spent-time">${
            step.ms === null ? `after ${duration(total)}` : duration(step.ms) + (step.going ? ' so far' : '')}</span>
            <time dateTime=${step.occurredAt} title=${dateTime(step.occurredAt)}>${time(step.occurredAt)}</time></p>
          <p class="muted">${explain(step)}</p>
          ${(step.reason || step.errorClass) && html`<p class="reason">${step.errorClass && html`<code>${step.errorClass}</code> `}${step.reason}</p>`}
        </li>`)}
    </ol>`;
}

/** A bar with a piece for each step, and the sums by status below it. */
function Spent({ spent, total }) {
  const sums = new Map();
  for (const { status, ms } of spent) sums.set(status, (sums.get(status) ?? 0) + ms);
  const widths = spent.map(({ ms }) => ms + total * NARROWEST + 1);
  const whole = widths.reduce((sum, width) => sum + width, 0);
  let x = 0;
  const pieces = spent.map((step, n) => {
    const piece = { ...step, x, width: (widths[n] / whole) * 100 };
    x += piece.width;
    return piece;
  });
  const words = [...sums].map(([status, ms]) => `${statusName(status).toLowerCase()} ${duration(ms)}`).join(', ');
  return html`
    <svg class="spent" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label="Time in each status: ${words}; ${duration(total)} in all">
      ${pieces.map((piece, n) => html`<rect key=${piece.sequence} data-status=${piece.status} x=${piece.x.toFixed(3)} width=${(piece.width - (n < pieces.length - 1 ? GAP : 0)).toFixed(3)} height="1" />`)}
    </svg>
    <ul class="sums" aria-hidden="true">
      ${[...sums].map(([status, ms]) => html`<li key=${status} data-status=${status}>${statusName(status)} <b>${duration(ms)}</b></li>`)}
    </ul>`;
}

/** What a step means, in words. */
function explain({ status, previousStatus, attempt, worker }) {
  switch (status) {
    case 'PENDING':
      if (!previousStatus) return 'Accepted';
      return previousStatus === 'FAILED' ? 'Redriven: starts again' : 'Waits for another attempt';
    case 'PROCESSING': return `Attempt ${attempt} started${worker ? ` by ${worker}` : ''}`;
    case 'COMPLETED': return attempt > 1 ? `Done with attempt ${attempt}` : 'Done';
    case 'FAILED': return `Given up after attempt ${attempt}`;
    case 'CANCELLED': return previousStatus === 'PROCESSING' ? `Stopped during attempt ${attempt}` : 'Cancelled before it was started';
    default: return '';
  }
}
