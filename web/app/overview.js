// The figures above the list: all orders by status, and orders per second.

import { html } from './html.js';
import { counts } from './counts.js';
import { SECONDS, rates } from './rates.js';
import { STATUSES, count, rate, statusName } from './format.js';

export const Overview = () => html`
  <section class="card overview" aria-label="All orders"><${Counters} /><${Throughput} /></section>`;

function Counters() {
  const known = counts();
  return html`
    <ul class="counts" aria-label="All orders by status">
      ${STATUSES.map((status) => {
        const { number, capped } = known?.(status.toLowerCase()) ?? {};
        return html`
          <li key=${status} data-status=${status}>
            <b title=${capped ? 'At least this number' : undefined}>${known ? count(number) + (capped ? '+' : '') : '–'}</b>
            <span>${statusName(status).toLowerCase()}</span>
          </li>`;
      })}
    </ul>`;
}

const HEIGHT = 40;

/** Drawn anew once a second: more often nothing changes that could be seen. */
let drawn = { at: null, vnode: null };

function Throughput() {
  const at = Math.floor(Date.now() / 1_000);
  if (drawn.at !== at) drawn = { at, vnode: draw(rates()) };
  return drawn.vnode;
}

function draw({ seconds, accepted, completed }) {
  const peak = Math.max(0, ...seconds.map((each) => Math.max(each.accepted ?? 0, each.completed ?? 0)));
  const x = (n) => n + 0.5;
  const y = (value) => +(HEIGHT - 1 - (value / Math.max(1, peak)) * (HEIGHT - 2)).toFixed(2);
  const parts = runs(seconds);
  const line = (name) => parts.filter((run) => run.known)
    .map((run) => run.each.map(({ n, ...values }, i) => `${i ? 'L' : 'M'}${x(n)} ${y(values[name])}`).join('')
      + (run.each.length === 1 ? 'h.5' : '')).join('');
  const area = parts.filter((run) => run.known)
    .map(({ each }) => `M${x(each[0].n)} ${HEIGHT}${each.map(({ n, accepted: value }) => `L${x(n)} ${y(value)}`).join('')}L${x(each.at(-1).n)} ${HEIGHT}Z`).join('');
  // The time before the page was opened is a gap as well, but no data is missing there.
  const gaps = parts.filter((run, n) => !run.known && n > 0);
  const alternative = `Orders per second in the last ${SECONDS / 60} minutes: ${accepted === null ? 'not known at present'
    : `now ${rate(accepted)} accepted and ${rate(completed)} completed`}, at most ${count(peak)} in a second${
    gaps.length > 0 ? `; ${gaps.length === 1 ? 'one gap' : `${gaps.length} gaps`} without connection` : ''}.`;
  return html`
    <div class="throughput">
      <p class="rates"><span class="rate accepted"><b>${rate(accepted)}</b> accepted/s</span>
        <span class="rate completed"><b>${rate(completed)}</b> completed/s</span>
        <span class="muted peak">peak ${count(peak)}/s</span></p>
      <svg class="sparkline" viewBox="0 0 ${SECONDS} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${alternative}>
        ${gaps.map(({ each }) => html`<rect class="gap" key=${each[0].at} x=${each[0].n} y="0" width=${each.length} height=${HEIGHT}><title>No connection</title></rect>`)}
        <path class="area" d=${area} /><path class="line accepted" d=${line('accepted')} /><path class="line completed" d=${line('completed')} />
        <path class="ground" d="M0 ${HEIGHT - 0.5}H${SECONDS}" />
      </svg>
    </div>`;
}

/** Cuts the seconds into runs that are known and runs that are not. */
function runs(seconds) {
  const found = [];
  seconds.forEach((each, n) => {
    const known = each.accepted !== null;
    if (found.at(-1)?.known !== known) found.push({ known, each: [] });
    found.at(-1).each.push({ ...each, n });
  });
  return found;
}
