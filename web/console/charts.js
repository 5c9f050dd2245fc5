// Charts in SVG: lines and stacked bars over the same buckets, with one pointer for all of them.
//
// The plot is stretched to the width of its card, so everything with letters is outside the SVG. Time that no gateway
// observed is a gap, never a zero.

import { html } from '../app/html.js';
import { changed } from '../app/state.js';

const HEIGHT = 100;

/** The bucket under the pointer, in all charts of the view. */
let pointed = null;

export const forgetPointer = () => { pointed = null; };

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** The next number of the form 1, 2 or 5 times a power of ten. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= value * 0.9999);
}

/** Cuts the indices into runs for which `isKnown` is true or not. */
export function runs(length, isKnown) {
  const found = [];
  for (let n = 0; n < length; n += 1) {
    const known = isKnown(n);
    if (found.at(-1)?.known !== known) found.push({ known, from: n, to: n });
    found.at(-1).to = n;
  }
  return found;
}

/**
 * A chart. `marks` are `{ n, tone, text }` at buckets. `series` are `{ name, tone, value(bucket), isArea, isDashed }` and are lines; with `isStacked` they are bars on
 * top of each other. `format` writes a value.
 */
export function Chart({ title, buckets, series, format, marks = [], isStacked = false, empty = 'Nothing yet', children }) {
  const known = (bucket) => bucket.complete !== false;
  const values = series.map(({ value }) => buckets.map((bucket) => (known(bucket) ? value(bucket) : null)));
  const tops = isStacked ? buckets.map((_, n) => values.reduce((sum, each) => sum + (each[n] ?? 0), 0)) : values.flat();
  const most = Math.max(0, ...tops.filter((value) => value !== null));
  const top = ceiling(most);
  const y = (value) => +(HEIGHT - (value / top) * HEIGHT).toFixed(2);
  const at = pointed === null || pointed >= buckets.length ? null : pointed;
  const shown = at === null ? lastKnown(buckets, values) : at;
  const gaps = runs(buckets.length, (n) => known(buckets[n])).filter((run) => !run.known);
  const words = `${title}: ${series.map(({ name }, s) => `${name} now ${format(values[s][lastKnown(buckets, values)] ?? null)}`).join(', ')}, at most ${format(most)}${gaps.length > 0 ? `; ${gaps.length === 1 ? 'one gap' : `${gaps.length} gaps`} without data` : ''}${marks.length > 0 ? `; marks: ${marks.map(({ n, text }) => `${clock.format(new Date(buckets[n].at))} ${text}`).join(', ')}` : ''}.`;
  const marked = marks.filter(({ n }) => n === at).map(({ text }) => ` · ${text}`).join('');
  const point = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const n = Math.max(0, Math.min(buckets.length - 1, Math.floor(((event.clientX - box.left) / box.width) * buckets.length)));
    if (n !== pointed) { pointed = n; changed(); }
  };
  return html`
    <section class="card chart" aria-label=${title}>
      <div class="chart-head"><h2>${title}</h2>
        <span class="muted chart-time">${at === null ? '' : `${clockSeconds.format(new Date(buckets[at].at))}${marked}`}</span></div>
      <ul class="legend">${series.map(({ name, tone, isDashed }, s) => html`<li key=${name} data-tone=${tone} class=${isDashed ? 'dashed' : undefined}><span>${name}</span> <b>${format(values[s][shown] ?? null)}</b></li>`)}</ul>
      <div class="plot">
        <span class="y top-value" aria-hidden="true">${most > 0 ? format(top) : ''}</span><span class="y mid-value" aria-hidden="true">${most > 0 ? format(top / 2) : ''}</span><span class="y low-value" aria-hidden="true">${most > 0 ? '0' : ''}</span>
        <svg viewBox="0 0 ${buckets.length} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${words} onPointerMove=${point} onPointerLeave=${() => { pointed = null; changed(); }}>
          <path class="grid" d="M0 0H${buckets.length}M0 ${HEIGHT / 2}H${buckets.length}M0 ${HEIGHT}H${buckets.length}" />
          ${gaps.map(({ from, to }) => html`<rect key=${from} class="gap" x=${from} y="0" width=${to - from + 1} height=${HEIGHT} />`)}
          ${marks.map(({ n, tone, text }) => html`<path key=${`${n} ${text}`} class="mark" data-tone=${tone} d="M${n + 0.5} 0V${HEIGHT}" /><path key=${`${n} ${text} dot`} class="mark-dot" data-tone=${tone} d="M${n + 0.5} 0h0.001" />`)}
          ${isStacked ? bars(buckets, series, values, y) : series.map((each, s) => line(each, values[s], y))}
          ${at !== null && html`<path class="pointer" d="M${at + 0.5} 0V${HEIGHT}" />`}
        </svg>
        ${most === 0 && html`<p class="plot-empty muted">${empty}</p>`}
      </div>
      <div class="x muted" aria-hidden="true">${[0, 0.5, 1].map((part) => html`<span key=${part}>${buckets.length > 0 ? clock.format(new Date(buckets[Math.min(buckets.length - 1, Math.round(part * buckets.length))].at)) : ''}</span>`)}</div>
      ${children}
    </section>`;
}

/** The newest bucket that any series has a value for. */
function lastKnown(buckets, values) {
  for (let n = buckets.length - 1; n >= 0; n -= 1) if (values.some((each) => each[n] !== null && each[n] !== undefined)) return n;
  return buckets.length - 1;
}

function bars(buckets, series, values, y) {
  const base = buckets.map(() => 0);
  return series.map(({ name, tone }, s) => {
    const d = buckets.map((_, n) => {
      const value = values[s][n] ?? 0;
      if (!value) return '';
      const [low, high] = [base[n], base[n] + value];
      base[n] = high;
      return `M${n + 0.08} ${y(low)}V${y(high)}h0.84V${y(low)}Z`;
    }).join('');
    return html`<path key=${name} class="bar" data-tone=${tone} d=${d} />`;
  });
}

function line({ name, tone, isArea, isDashed }, values, y) {
  const parts = runs(values.length, (n) => values[n] !== null && values[n] !== undefined).filter((run) => run.known);
  const d = parts.map(({ from, to }) => (from === to ? `M${from + 0.1} ${y(values[from])}h0.8`
    : Array.from({ length: to - from + 1 }, (_, n) => `${n ? 'L' : 'M'}${from + n + 0.5} ${y(values[from + n])}`).join(''))).join('');
  const area = isArea && parts.map(({ from, to }) => `M${from + 0.5} ${HEIGHT}${Array.from({ length: to - from + 1 }, (_, n) => `L${from + n + 0.5} ${y(values[from + n])}`).join('')}L${to + 0.5} ${HEIGHT}Z`).join('');
  return html`${area && html`<path class="area" data-tone=${tone} d=${area} />`}<path key=${name} class="line ${isDashed ? 'dashed' : ''}" data-tone=${tone} d=${d} />`;
}
