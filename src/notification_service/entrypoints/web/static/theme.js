/* Applies the chosen colours before the page is drawn; loaded without `defer` so that nothing flashes. */
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is switched off: the system's colours it is.
  }
})();
