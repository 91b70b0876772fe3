/* The keys of the page. */

const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

/** Listen to the whole page; what is typed into a field stays there, except Escape. */
export function listenToKeys({ onMove, onOpen, onLeave, onSearch }) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return onLeave();
    if (isTyping(event.target)) return;
    if (event.key === "/") return handled(event, onSearch);
    if (event.key === "Enter" && isFree(event.target)) return handled(event, onOpen);
    if (event.key in STEPS && mayMove(event)) handled(event, () => onMove(STEPS[event.key]));
  });
}

function handled(event, action) {
  event.preventDefault();
  action();
}

function isTyping(target) {
  return target.matches("input, textarea, select");
}

// Enter on a button or a link is that button's own.
function isFree(target) {
  return !target.closest("button, a, [role=tab]");
}

// Arrows scroll whatever is being read; the letters always move.
function mayMove(event) {
  return event.key.length === 1 || !event.target.closest("#message");
}
