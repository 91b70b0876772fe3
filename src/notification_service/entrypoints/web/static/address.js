/* The page's address says what is shown, so that a reload and the Back button do what people expect. */

/** Read the address: the opened message, the search and the channel. */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  return { message: query.get("message"), search: query.get("search") ?? "", channel: query.get("channel") ?? "" };
}

/** Write the address; `isStep` makes it something to go back from. */
export function writeAddress({ message, search, channel }, { isStep = false } = {}) {
  const given = Object.entries({ message, search, channel }).filter(([, value]) => value);
  const address = given.length ? `/mailbox?${new URLSearchParams(given)}` : "/mailbox";
  if (isStep) history.pushState({ isStep }, "", address);
  else history.replaceState(history.state, "", address);
}

/** Go back when the last step was ours; tell whether it was. */
export function stepBack() {
  const isOurs = Boolean(history.state?.isStep);
  if (isOurs) history.back();
  return isOurs;
}
