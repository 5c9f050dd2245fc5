// The header of a page that is not drawn by these modules: the guide, the error codes, the GraphQL tools.

import { render } from '../vendor/preact/preact.mjs';
import { Header } from './header.js';
import { html } from './html.js';

const place = document.getElementById('header');
const draw = () => render(html`<${Header} current=${place.dataset.current} redraw=${draw} />`, place);

place.replaceChildren();
draw();
