/* The list of messages: newest first, one of them selected. */

import { element, icon } from "./elements.js";
import { setTime } from "./times.js";
import { channelIcon, channelLabel, state } from "./words.js";

export class List {
  rows = [];
  selected = null;
  #root;
  #items = new Map();
  #fresh = new Set();

  constructor(root, { onOpen }) {
    this.#root = root;
    root.addEventListener("click", (event) => {
      const row = event.target.closest("[data-id]");
      if (row) onOpen(row.dataset.id);
    });
  }

  /** Put the newest page in front of what was read further down; return what wasn't there before. */
  putNewest(page, { isFirst }) {
    const known = new Set(this.rows.map((row) => row.id));
    const arrived = page.filter((row) => !known.has(row.id));
    const overlaps = arrived.length < page.length;
    const last = page.at(-1)?.id;
    const older = overlaps && last ? this.rows.filter((row) => row.id < last) : [];
    if (!isFirst) arrived.forEach((row) => this.#fresh.add(row.id));
    this.#show([...page, ...older]);
    return arrived;
  }

  /** Put older messages below. */
  putOlder(page) {
    this.#show([...this.rows, ...page]);
  }

  clear() {
    this.#show([]);
  }

  find(id) {
    return this.rows.find((row) => row.id === id);
  }

  get freshCount() {
    return this.#fresh.size;
  }

  /** Select a message, or none; `focus` moves the keyboard there too. */
  select(id, { focus = false } = {}) {
    this.selected = id;
    this.#mark();
    const item = this.#items.get(id);
    if (!item) return;
    item.scrollIntoView({ block: "nearest" });
    if (focus) item.focus({ preventScroll: true });
  }

  /** Return the id `step` rows away from the selected one; the nearest end when there is none. */
  neighbour(step) {
    const at = this.rows.findIndex((row) => row.id === this.selected);
    const next = at < 0 ? 0 : Math.min(Math.max(at + step, 0), this.rows.length - 1);
    return this.rows[next]?.id;
  }

  see(id) {
    this.#fresh.delete(id);
    this.#items.get(id)?.classList.remove("fresh");
  }

  #show(rows) {
    this.rows = rows;
    const shown = new Set(rows.map((row) => row.id));
    for (const [id, item] of this.#items) if (!shown.has(id)) this.#drop(id, item);
    rows.forEach((row, at) => this.#place(this.#item(row), at));
    this.#mark();
  }

  #drop(id, item) {
    item.remove();
    this.#items.delete(id);
    this.#fresh.delete(id);
  }

  // A row that is in its place already isn't touched, so that it keeps the focus.
  #place(item, at) {
    const there = this.#root.children[at];
    if (there !== item) this.#root.insertBefore(item, there ?? null);
  }

  #item(row) {
    const item = this.#items.get(row.id) ?? this.#make(row);
    const badge = item.querySelector(".state");
    const { label, tone } = state(row.status);
    badge.textContent = label;
    badge.dataset.tone = tone;
    return item;
  }

  #make(row) {
    const time = element("time");
    setTime(time, row.received_at);
    const item = element(
      "li",
      { class: row.subject ? "row" : "row bare", role: "option", tabindex: -1, "data-id": row.id, "aria-selected": "false" },
      channelBadge(row.channel),
      element("span", { class: "to", dir: "auto", text: row.to }),
      time,
      element("span", { class: "title", dir: "auto", text: row.subject || row.preview || "(empty)" }),
      element("span", { class: "preview", dir: "auto", text: row.subject ? row.preview : "" }),
      element("span", { class: "state" }),
    );
    item.classList.toggle("fresh", this.#fresh.has(row.id));
    this.#items.set(row.id, item);
    return item;
  }

  // Exactly one row can be reached with Tab: the selected one, else the first.
  #mark() {
    const reachable = this.find(this.selected)?.id ?? this.rows[0]?.id;
    for (const [id, item] of this.#items) {
      item.setAttribute("aria-selected", String(id === this.selected));
      item.tabIndex = id === reachable ? 0 : -1;
    }
  }
}

export function channelBadge(channel) {
  const badge = element("span", { class: "channel", "data-channel": channel, title: channelLabel(channel) });
  badge.append(icon(channelIcon(channel)), element("span", { class: "unseen", text: channelLabel(channel) }));
  return badge;
}
