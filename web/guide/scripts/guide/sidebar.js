// Shows or hides the sidebar as page.js has decided, when its elements exist.

document.getElementById('mdbook-sidebar-toggle-anchor').checked = sidebar === 'visible';
document.getElementById('mdbook-sidebar-toggle').setAttribute('aria-expanded', sidebar === 'visible');
document.getElementById('mdbook-sidebar').setAttribute('aria-hidden', sidebar !== 'visible');
for (const link of document.querySelectorAll('#mdbook-sidebar a')) link.tabIndex = sidebar === 'visible' ? 0 : -1;
