// Whether the open order has room beside the list. When it has not, it covers the list.

/** The same width as in style.css. */
export const wide = matchMedia('(min-width: 60rem)');
