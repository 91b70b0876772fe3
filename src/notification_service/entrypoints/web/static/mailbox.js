/* The mailbox page: the list, the opened message and the tools around them. */

import { readAddress, stepBack, writeAddress } from "./address.js";
import { Gone, fetchMessage, fetchOlder } from "./api.js";
import { copiesOnClick } from "./copying.js";
import { announce, part } from "./elements.js";
import { listenToKeys } from "./keyboard.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { Opened } from "./message.js";
import { switchesTheme } from "./theme-switch.js";
import { refreshTimes } from "./times.js";
import { channelLabel, isUnsettled } from "./words.js";

const TYPING_PAUSE = 200;
const FIRST_LOOK_AGAIN = 700;
const LAST_LOOK_AGAIN = 15000;

class Mailbox {
  #wanted = readAddress();
  #isFirst = true;
  #hasMore = false;
  #lookAgainAfter = FIRST_LOOK_AGAIN;
  #lookAgain;
  #opening = 0;
  #list = new List(part("list"), { onOpen: (id) => this.open(id) });
  #opened = new Opened(part("opened"), { onClose: () => this.leave() });
  #live = new Live({
    wanted: () => ({ search: this.#wanted.search, channel: this.#wanted.channel }),
    onNews: (page) => this.#take(page),
    onConnection: showConnection,
  });

  start() {
    this.#showWanted();
    if (this.#wanted.message) this.open(this.#wanted.message, { isStep: false, focus: false });
    window.addEventListener("popstate", () => this.#follow(readAddress()));
    setInterval(refreshTimes, 5000);
    this.#live.run();
  }

  // --- the list

  #take({ messages, has_more: hasMore }) {
    const isFirst = this.#isFirst;
    const arrived = this.#list.putNewest(messages, { isFirst });
    if (this.#list.rows.length === messages.length) this.#hasMore = hasMore;
    this.#isFirst = false;
    if (arrived.length) this.#lookAgainAfter = FIRST_LOOK_AGAIN;
    if (!isFirst && arrived.length) announceArrival(arrived);
    this.#afterChange();
  }

  #afterChange() {
    this.#showEmptiness();
    this.#showCount();
    this.#lookAgainWhileUnsettled();
    this.#refreshOpened();
  }

  // A message is in the mailbox before its worker has written down that it is sent.
  #lookAgainWhileUnsettled() {
    clearTimeout(this.#lookAgain);
    if (!this.#list.rows.some((row) => isUnsettled(row.status))) return;
    this.#lookAgain = setTimeout(() => this.#live.refresh(), this.#lookAgainAfter);
    this.#lookAgainAfter = Math.min(2 * this.#lookAgainAfter, LAST_LOOK_AGAIN);
  }

  async showOlder() {
    const { search, channel } = this.#wanted;
    const after = this.#list.rows.at(-1)?.id;
    const page = await fetchOlder({ search, channel, after });
    this.#list.putOlder(page.messages);
    this.#hasMore = page.has_more;
    this.#afterChange();
  }

  #showEmptiness() {
    const isEmpty = this.#list.rows.length === 0;
    const isNarrowed = Boolean(this.#wanted.search || this.#wanted.channel);
    part("more").hidden = !this.#hasMore || isEmpty;
    part("nothing").hidden = !isEmpty;
    part("show-all").hidden = !isNarrowed;
    part("nothing-text").textContent = isNarrowed ? "No message matches." : "Nothing here yet.";
    part("welcome").hidden = !isEmpty || isNarrowed || this.#opened.id !== null;
    part("placeholder").hidden = !part("welcome").hidden || this.#opened.id !== null;
    part("ask-clear").disabled = isEmpty && !isNarrowed;
    part("panes").classList.toggle("is-empty", !part("welcome").hidden);
  }

  #showCount() {
    const fresh = this.#list.freshCount;
    document.title = fresh ? `(${fresh}) Mailbox` : "Mailbox";
  }

  // --- search and filter

  narrow(change) {
    Object.assign(this.#wanted, change);
    writeAddress(this.#wanted);
    this.#startOver();
  }

  #startOver() {
    this.#isFirst = true;
    this.#list.clear();
    this.#showWanted();
    this.#live.refresh();
  }

  #showWanted() {
    const { search, channel } = this.#wanted;
    if (part("search").value.trim() !== search) part("search").value = search;
    for (const chip of part("channels").children) {
      chip.setAttribute("aria-pressed", String(chip.dataset.channel === channel));
    }
  }

  #follow(address) {
    const isNarrowedOtherwise = address.search !== this.#wanted.search || address.channel !== this.#wanted.channel;
    this.#wanted = address;
    if (isNarrowedOtherwise) this.#startOver();
    if (address.message) this.open(address.message, { isStep: false });
    else this.#close();
  }

  // --- the opened message

  async open(id, { isStep = this.#opened.id === null, focus = true } = {}) {
    if (!id) return;
    const turn = (this.#opening += 1);
    this.#list.select(id);
    try {
      const detail = await fetchMessage(id);
      if (turn === this.#opening) this.#show(detail, { isStep, focus });
    } catch (error) {
      announce(error instanceof Gone ? "This message is gone." : "The message could not be read. Try again.");
      if (turn === this.#opening && error instanceof Gone) this.#close();
    }
  }

  #show(detail, { isStep, focus }) {
    this.#opened.show(detail);
    this.#list.see(detail.message.id);
    this.#wanted.message = detail.message.id;
    writeAddress(this.#wanted, { isStep });
    part("panes").classList.add("has-open");
    if (focus) part("message").focus({ preventScroll: true });
    this.#showEmptiness();
    this.#showCount();
  }

  async #refreshOpened() {
    const { id, status } = this.#opened;
    const row = this.#list.find(id);
    if (!row || row.status === status) return;
    const detail = await fetchMessage(id).catch(() => null);
    if (detail && this.#opened.id === id) this.#opened.update(detail);
  }

  /** Leave the opened message, or else the search. */
  leave() {
    if (this.#opened.id !== null) {
      if (stepBack()) return; // the address leads to #close
      this.#close();
    } else if (this.#wanted.search) {
      this.narrow({ search: "" });
    } else {
      document.activeElement.blur();
    }
  }

  #close() {
    this.#opening += 1;
    this.#opened.close();
    this.#wanted.message = null;
    writeAddress(this.#wanted);
    part("panes").classList.remove("has-open");
    this.#list.select(this.#list.selected, { focus: true });
    this.#showEmptiness();
  }

  // --- keys

  move(step) {
    const id = this.#list.neighbour(step);
    if (!id) return;
    if (this.#opened.id === null) this.#list.select(id, { focus: true });
    else this.open(id, { isStep: false, focus: false });
  }

  openSelected() {
    this.open(this.#list.selected ?? this.#list.neighbour(0));
  }
}

function showConnection(state) {
  const shown = part("connection");
  if (shown.dataset.state === state) return;
  shown.dataset.state = state;
  shown.firstElementChild.textContent = state === "live" ? "Live" : "Reconnecting";
}

function announceArrival(arrived) {
  const [first] = arrived;
  const one = `New ${channelLabel(first.channel)} to ${first.to}: ${first.subject || first.preview}`;
  announce(arrived.length === 1 ? one : `${arrived.length} new messages`);
}

function listenToTools(mailbox) {
  let typing;
  part("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => mailbox.narrow({ search: event.target.value.trim() }), TYPING_PAUSE);
  });
  part("channels").addEventListener("click", (event) => {
    const chip = event.target.closest("[data-channel]");
    if (chip) mailbox.narrow({ channel: chip.dataset.channel });
  });
  part("show-all").addEventListener("click", () => mailbox.narrow({ search: "", channel: "" }));
  part("more").addEventListener("click", () => mailbox.showOlder());
  part("ask-clear").addEventListener("click", () => part("clear").showModal());
  part("keep").addEventListener("click", () => part("clear").close());
  switchesTheme(part("theme"));
  for (const button of document.querySelectorAll("[data-copy]")) copiesOnClick(button, () => part(button.dataset.copy));
}

const mailbox = new Mailbox();
listenToTools(mailbox);
listenToKeys({
  onMove: (step) => mailbox.move(step),
  onOpen: () => mailbox.openSelected(),
  onLeave: () => mailbox.leave(),
  onSearch: () => part("search").select(),
});
mailbox.start();
