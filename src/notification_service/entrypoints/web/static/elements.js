/* Builds elements. Whatever comes from a message becomes text or an attribute's value, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** Make an element; `properties` are attributes, except `text` and `on` (event handlers by name). */
export function element(tag, { text, on = {}, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  for (const [event, handler] of Object.entries(on)) made.addEventListener(event, handler);
  if (text !== undefined && text !== null) made.textContent = text;
  made.append(...children.filter(Boolean));
  return made;
}

/** Make one of the icons of icons.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Find what the page itself is made of. */
export function part(id) {
  return document.getElementById(id);
}

/** Tell people who listen instead of look. */
export function announce(text) {
  part("announcement").textContent = text;
}
