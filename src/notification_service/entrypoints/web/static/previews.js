/* A message as the person who gets it would see it. */

import { documentAddress } from "./api.js";
import { element, icon } from "./elements.js";
import { timeOfDay } from "./times.js";

/** Show the message in the dress of its channel. */
export function preview(message) {
  if (message.html !== null) return mailDocument(message);
  switch (message.channel) {
    case "email":
      return element("div", { class: "letter" }, element("pre", { class: "text", dir: "auto", text: message.text }));
    case "sms":
      return phone(message);
    case "push":
      return card(message);
    default:
      return element("pre", { class: "source", tabindex: 0, text: indented(message.text) });
  }
}

// The frame may open links in tabs of their own and nothing else: no scripts, no forms, no origin. The
// document's own policy says so once more, and keeps everything remote out.
function mailDocument(message) {
  const frame = element("iframe", {
    class: "document",
    title: "The email as its receiver sees it",
    sandbox: "allow-popups allow-popups-to-escape-sandbox",
    referrerpolicy: "no-referrer",
    src: documentAddress(message.id),
  });
  const note = element("p", { class: "note", text: "Scripts, forms and remote images are blocked." });
  return element("div", { class: "mail" }, frame, note);
}

function phone(message) {
  return element(
    "div",
    { class: "phone" },
    element("p", { class: "phone-to", text: message.to }),
    element("p", { class: "bubble", dir: "auto", text: message.text }),
    element("p", { class: "phone-time", text: `${timeOfDay(message.received_at)} · ${size(message.text)}` }),
  );
}

// GSM 03.38: 160 characters, or 153 in each part of a longer one; 70 and 67 when others are needed.
function size(text) {
  const plain = /^[\n\r -~£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà€]*$/.test(text) && !text.includes("`");
  const length = plain ? text.length + (text.match(/[\^{}\\[\]~|€]/g) ?? []).length : text.length;
  const [one, each] = plain ? [160, 153] : [70, 67];
  const parts = length <= one ? 1 : Math.ceil(length / each);
  return `${length} characters, ${parts === 1 ? "1 part" : `${parts} parts`}`;
}

function card(message) {
  return element(
    "div",
    { class: "lock-screen" },
    element("p", { class: "lock-time", text: timeOfDay(message.received_at).replace(/(\d+:\d+):\d+/, "$1") }),
    element(
      "div",
      { class: "push-card" },
      element("span", { class: "push-app" }, icon("push")),
      element(
        "div",
        {},
        message.subject && element("p", { class: "push-title", dir: "auto", text: message.subject }),
        element("p", { class: "push-text", dir: "auto", text: message.text }),
      ),
      element("span", { class: "push-when", text: "now" }),
    ),
  );
}

/** Indent JSON; whatever is no JSON stays as it is. */
export function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
