// Sets the constants that the scripts of mdBook read, then the colours and the sidebar, before any content is drawn.

const html = document.documentElement;
const path_to_root = html.dataset.root;
const default_light_theme = 'light';
const default_dark_theme = 'coal';
const default_theme = matchMedia('(prefers-color-scheme: dark)').matches ? default_dark_theme : default_light_theme;

/** A setting that the reader chose, or null: a browser can forbid the storage. */
function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

html.classList.remove('light');
html.classList.add(stored('mdbook-theme') ?? default_theme, 'js');
const sidebar = innerWidth >= 1080 ? stored('mdbook-sidebar') ?? 'visible' : 'hidden';
html.classList.toggle('sidebar-visible', sidebar === 'visible');
