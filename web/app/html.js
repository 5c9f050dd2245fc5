// Templates: htm turns `html\`<p>…</p>\`` into preact elements. A component is a function of the state.

import { h } from '../vendor/preact/preact.mjs';
import htm from '../vendor/htm/htm.module.js';

export const html = htm.bind(h);
