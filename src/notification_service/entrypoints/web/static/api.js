/* Asks the service; an ended session leads to the sign-in page. */

export class Gone extends Error {}

/** Ask for the newest messages; null when nothing has changed since `version`. */
export function fetchNews({ search, channel, version, signal }) {
  return get("/mailbox/news", { search, channel, version }, signal);
}

/** Ask for the messages that follow the one called `after`. */
export function fetchOlder({ search, channel, after }) {
  return get("/mailbox/messages", { search, channel, after });
}

/** Ask for one message; throws `Gone` when it no longer exists. */
export function fetchMessage(id) {
  return get(`/mailbox/messages/${encodeURIComponent(id)}`, {});
}

export function documentAddress(id) {
  return `/mailbox/messages/${encodeURIComponent(id)}/html`;
}

async function get(path, query, signal) {
  const given = Object.entries(query).filter(([, value]) => value);
  const address = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const response = await fetch(address, { headers: { accept: "application/json" }, signal });
  if (response.status === 401) {
    location.assign("/");
    return new Promise(() => {}); // the page is about to go
  }
  if (response.status === 404) throw new Gone(path);
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.status === 204 ? null : response.json();
}
