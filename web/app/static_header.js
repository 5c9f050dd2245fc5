// The header of a page that the server has written.

import { render } from '../vendor/preact/preact.mjs';
import { Header } from './header.js';
import { html } from './html.js';

const place = document.getElementById('header');
const draw = () => render(html`<${Header} redraw=${draw} />`, place);

place.replaceChildren();
draw();
