/* Keeps asking for news while somebody is looking, through restarts and lost connections. */

import { fetchNews } from "./api.js";

const SHORTEST_ROUND = 250;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;

export class Live {
  #wanted;
  #onNews;
  #onConnection;
  #version = "";
  #stop = new AbortController();

  /** `wanted()` gives search and channel, `onNews(page)` takes the newest page, `onConnection(state)` is told. */
  constructor({ wanted, onNews, onConnection }) {
    this.#wanted = wanted;
    this.#onNews = onNews;
    this.#onConnection = onConnection;
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    window.addEventListener("online", () => this.refresh());
  }

  /** Ask for the newest page at once, changed or not. */
  refresh() {
    this.#version = "";
    this.#stop.abort();
  }

  async run() {
    let pause = FIRST_PAUSE;
    for (;;) {
      await visible();
      const begun = Date.now();
      try {
        await this.#ask();
        this.#onConnection("live");
        pause = FIRST_PAUSE;
        await sleep(begun + SHORTEST_ROUND - Date.now());
      } catch {
        if (this.#stop.signal.aborted) continue;
        this.#onConnection("lost");
        await sleep(pause);
        pause = Math.min(2 * pause, LONGEST_PAUSE);
      }
    }
  }

  async #ask() {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const page = await fetchNews({ ...this.#wanted(), version: this.#version, signal });
    if (!page || signal.aborted) return;
    this.#version = page.version;
    this.#onNews(page);
  }
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}
