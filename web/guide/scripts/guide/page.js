// Sets the constants that the scripts of mdBook read, then the colours and the sidebar, before any content is drawn.

const html = document.documentElement;
const path_to_root = html.dataset.root;
const default_light_theme = 'light';
const default_dark_theme = 'coal';
const default_theme = matchMedia('(prefers-color-scheme: dark)').matches ? default_dark_theme : default_light_theme;

/** The names that mdBook has for the themes of the header. */
const THEMES = { light: 'light', dark: 'coal' };

/** A setting that the reader chose, or null: a browser can forbid the storage. */
function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** The scripts of mdBook read the theme from their own setting. */
function keepTheme() {
  try {
    const theme = THEMES[html.dataset.theme];
    if (theme) localStorage.setItem('mdbook-theme', theme);
    else localStorage.removeItem('mdbook-theme');
  } catch {
    // The theme of the system is shown.
  }
}

keepTheme();
html.classList.remove('light');
html.classList.add(THEMES[html.dataset.theme] ?? default_theme, 'js');
const sidebar = innerWidth >= 1080 ? stored('mdbook-sidebar') ?? 'visible' : 'hidden';
html.classList.toggle('sidebar-visible', sidebar === 'visible');

/** What scrolls sideways has to be reached with the keyboard. */
function makeScrollable() {
  for (const each of document.querySelectorAll('.content pre > code, .content .table-wrapper')) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
}
for (const event of ['load', 'resize']) addEventListener(event, makeScrollable);

// A column without a name is no head for a screen reader.
addEventListener('DOMContentLoaded', () => {
  for (const each of document.querySelectorAll('.content th:empty')) each.setAttribute('role', 'presentation');
});

new MutationObserver(() => {
  document.getElementById(`mdbook-theme-${THEMES[html.dataset.theme] ?? 'default_theme'}`)?.click();
}).observe(html, { attributeFilter: ['data-theme'] });
