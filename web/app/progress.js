// How far the worker of a running order is.

import { html } from './html.js';

/** The latest progress, or nothing. Without a percentage the bar has no value. */
export function AttemptProgress({ progress }) {
  if (!progress) return null;
  const { percent, note } = progress;
  const share = percent === null || percent === undefined ? null : `${percent} %`;
  return html`
    <p class="attempt-progress">
      <progress max="100" value=${percent ?? undefined} aria-label="Progress of the attempt"></progress>
      ${share && html`<b>${share}</b>`}${note && html` <span class="muted">${note}</span>`}
    </p>`;
}
