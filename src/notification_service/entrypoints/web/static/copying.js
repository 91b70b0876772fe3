/* Puts text into the clipboard. */

import { announce, element, icon } from "./elements.js";

const SHOWN_FOR = 1500;

/** Make a button that copies the text of the element that `from()` returns. */
export function copyButton(from) {
  const button = element("button", { class: "tool copy", type: "button", "aria-label": "Copy" }, icon("copy"));
  copiesOnClick(button, from);
  return button;
}

/** Make a button copy. */
export function copiesOnClick(button, from) {
  button.addEventListener("click", async () => {
    const copied = await copy(from());
    announce(copied ? "Copied" : "Selected; press Ctrl+C to copy");
    if (!copied) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), SHOWN_FOR);
  });
}

// Without https only this machine's own addresses may write to the clipboard; elsewhere the text is selected.
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return false;
  }
}
