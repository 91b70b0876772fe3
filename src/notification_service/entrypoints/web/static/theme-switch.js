/* Switches between light and dark; until somebody does, the system decides. */

const dark = matchMedia("(prefers-color-scheme: dark)");

export function switchesTheme(button) {
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    remember(root.dataset.theme);
  });
}

function remember(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}
