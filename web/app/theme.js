// Applies the chosen theme before the page is painted. It is a classic script, because modules run after the first paint.

(() => {
  try {
    const theme = localStorage.getItem('orders-theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // The browser keeps nothing for this page: the system decides.
  }
})();
