// The icons: lines of 16 x 16, in the colour of the text. They are never the only name of something.

import { html } from './html.js';

const PATHS = {
  overview: 'M2 13.5h12M3.5 11V7.5M6.5 11V4.5M9.5 11V6.5M12.5 11V3',
  orders: 'M3 4h10M3 8h10M3 12h6',
  dead: 'M8 5v3.5M8 11h.01M8 2 14.5 13.5h-13z',
  workers: 'M2.5 3.5h11v4h-11zM2.5 8.5h11v4h-11zM5 5.5h.01M5 10.5h.01',
  queue: 'M3 3v10M6 5h8M6 8h6M6 11h8',
  events: 'M2 8h2.5L6.5 3.5l3 9 2-4.5H14',
  webhooks: 'M6.5 9.5 9.5 6.5M7 4.5 8.6 2.9a3 3 0 0 1 4.5 4.2L11.5 9M9 11.5l-1.6 1.6a3 3 0 0 1-4.5-4.2L4.5 7',
  access: 'M10.5 2a3.5 3.5 0 1 0-2.8 5.6L2.5 12.8V14H5v-1.5h1.5V11H8l1-1.3A3.5 3.5 0 0 0 10.5 2zM11 5h.01',
  system: 'M8 5.75a2.25 2.25 0 1 0 0 4.5 2.25 2.25 0 0 0 0-4.5zM8 1.75v1.5M8 12.75v1.5M1.75 8h1.5M12.75 8h1.5M3.6 3.6l1 1M11.4 11.4l1 1M3.6 12.4l1-1M11.4 4.6l1-1',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5 14 14',
  close: 'M4 4l8 8M12 4l-8 8',
  help: 'M6 6a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M8 11.5h.01M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5z',
  light: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.5V3M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1',
  dark: 'M13 9.6A5.6 5.6 0 1 1 6.4 3a4.4 4.4 0 0 0 6.6 6.6z',
  system_theme: 'M2.5 3h11v7.5h-11zM6 13.5h4M8 10.5v3',
  download: 'M8 2.5v8M4.75 7.25 8 10.5l3.25-3.25M2.5 13.5h11',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M5 3l7.5 5L5 13z',
  check: 'M3 8.5 6.5 12 13 4.5',
  columns: 'M2.5 3h11v10h-11zM6.25 3v10M9.75 3v10',
};

export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
