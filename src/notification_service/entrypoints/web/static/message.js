/* One opened message: what it is, and its faces as tabs. */

import { copyButton } from "./copying.js";
import { delivery, stateBadge } from "./delivery.js";
import { element, icon } from "./elements.js";
import { channelBadge } from "./list.js";
import { preview } from "./previews.js";
import { exact, setTime } from "./times.js";
import { channelLabel } from "./words.js";

const TABS = [
  { name: "Preview", applies: () => true, build: ({ message }) => preview(message) },
  { name: "Text", applies: hasHtml, build: ({ message }) => source(message.text) },
  { name: "HTML", applies: hasHtml, build: ({ message }) => source(message.html) },
  { name: "Headers", applies: hasHeaders, build: ({ message }) => headers(message.headers) },
  { name: "Delivery", applies: () => true, build: delivery, changes: true },
  { name: "JSON", applies: () => true, build: rawRequest, changes: true },
];

function hasHtml({ message }) {
  return message.html !== null;
}

function hasHeaders({ message }) {
  return Object.keys(message.headers).length > 0;
}

export class Opened {
  #root;
  #onClose;
  #detail = null;
  #tabs = [];
  #chosen = "Preview";

  constructor(root, { onClose }) {
    this.#root = root;
    this.#onClose = onClose;
  }

  get id() {
    return this.#detail?.message.id ?? null;
  }

  get status() {
    return this.#detail?.notification?.status ?? null;
  }

  /** Show a message; the tab that was chosen for the last one stays chosen where there is one like it. */
  show(detail) {
    this.#detail = detail;
    this.#tabs = TABS.filter((tab) => tab.applies(detail));
    const tab = this.#tabs.find(({ name }) => name === this.#chosen) ?? this.#tabs[0];
    this.#root.replaceChildren(this.#head(), this.#tabList(), element("div", { class: "panel" }));
    this.#choose(tab.name);
    this.#root.hidden = false;
  }

  /** Take in what changed about the message on display, leaving alone what cannot have changed. */
  update(detail) {
    this.#detail = detail;
    this.#root.querySelector(".head .state")?.replaceWith(stateBadge(this.status));
    if (TABS.find(({ name }) => name === this.#chosen)?.changes) this.#fill(this.#current());
  }

  close() {
    this.#detail = null;
    this.#root.hidden = true;
    this.#root.replaceChildren();
  }

  #head() {
    const { message } = this.#detail;
    const under = message.subject ? message.to : channelLabel(message.channel);
    const received = element("time");
    setTime(received, message.received_at);
    return element(
      "header",
      { class: "head" },
      element("button", { class: "tool back", type: "button", "aria-label": "Back to the list", on: { click: this.#onClose } }, icon("back")),
      channelBadge(message.channel),
      element(
        "div",
        { class: "titles" },
        element("h1", { dir: "auto", text: message.subject || message.to }),
        element("p", { class: "sub" }, element("span", { class: "address", dir: "auto", text: under }), received),
      ),
      stateBadge(this.status),
    );
  }

  #tabList() {
    const list = element("div", { class: "tabs", role: "tablist", "aria-label": "Views of the message" });
    for (const { name } of this.#tabs) {
      list.append(element("button", { type: "button", role: "tab", id: `tab-${name}`, text: name, "aria-controls": "panel", on: { click: () => this.#choose(name) } }));
    }
    list.addEventListener("keydown", (event) => this.#step(event));
    return list;
  }

  #step(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = this.#tabs.indexOf(this.#current());
    const { name } = this.#tabs.at((at + step) % this.#tabs.length);
    this.#choose(name);
    this.#root.querySelector(`#tab-${name}`).focus();
  }

  #current() {
    return this.#tabs.find(({ name }) => name === this.#chosen);
  }

  #choose(name) {
    this.#chosen = name;
    for (const tab of this.#root.querySelectorAll("[role=tab]")) {
      const isChosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    this.#fill(this.#current());
  }

  #fill({ name, build }) {
    const panel = element("div", { class: "panel", id: "panel", role: "tabpanel", "data-view": name, "aria-labelledby": `tab-${name}` });
    panel.append(build(this.#detail));
    this.#root.querySelector(".panel").replaceWith(panel);
  }
}

function source(text) {
  const content = element("pre", { class: "source", tabindex: 0, dir: "auto", text });
  return element("div", { class: "code" }, content, copyButton(() => content));
}

function headers(values) {
  const rows = Object.entries(values).map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row", text: name }), element("td", { dir: "auto", text: value })),
  );
  return element("table", { class: "headers" }, element("tbody", {}, ...rows));
}

function rawRequest({ notification, message }) {
  if (!notification) return source(JSON.stringify(message, null, 2));
  const told = `GET /v1/notifications/${notification.id}`;
  return element("div", {}, element("p", { class: "muted", title: exact(notification.created_at), text: told }), source(JSON.stringify(notification, null, 2)));
}
