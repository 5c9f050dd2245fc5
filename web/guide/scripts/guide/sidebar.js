// Shows or hides the sidebar as page.js has decided, when its elements exist.

document.getElementById('mdbook-sidebar-toggle-anchor').checked = sidebar === 'visible';
document.getElementById('mdbook-sidebar-toggle').setAttribute('aria-expanded', sidebar === 'visible');
document.getElementById('mdbook-sidebar').setAttribute('aria-hidden', sidebar !== 'visible');
// The button stands for the checkbox, whose changes the scripts of mdBook follow. They hide the sidebar, which takes no part in
// the animation then.
document.getElementById('mdbook-sidebar-toggle').addEventListener('click', () => {
  const anchor = document.getElementById('mdbook-sidebar-toggle-anchor');
  const contents = document.getElementById('mdbook-sidebar');
  contents.style.display = '';
  contents.getBoundingClientRect();
  anchor.checked = !anchor.checked;
  anchor.dispatchEvent(new Event('change'));
});

// The sidebar is moved with an animation, but not while the page is loaded.
addEventListener('load', () => html.classList.add('is-loaded'));
for (const link of document.querySelectorAll('#mdbook-sidebar a')) link.tabIndex = sidebar === 'visible' ? 0 : -1;
