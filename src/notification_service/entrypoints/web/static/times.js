/* Times as people say them; the exact one is always in the tooltip. */

const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const UNITS = [
  ["minute", 60, 3600],
  ["hour", 3600, 86400],
  ["day", 86400, Infinity],
];

/** Say how long ago (or how far ahead) a time is. */
export function ago(iso, now = Date.now()) {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 5) return "now";
  if (distance < 60) return relative.format(Math.round(seconds), "second");
  const [unit, size] = UNITS.find(([, , end]) => distance < end);
  return relative.format(Math.trunc(seconds / size), unit);
}

export function exact(iso) {
  return day.format(new Date(iso));
}

export function timeOfDay(iso) {
  return clock.format(new Date(iso));
}

/** Say how long something took. */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.round(milliseconds / 60000)} min`;
}

/** Keep a <time> element's words up to date with `refreshTimes`. */
export function setTime(target, iso) {
  target.dateTime = iso;
  target.title = exact(iso);
  target.textContent = ago(iso);
}

export function refreshTimes() {
  for (const each of document.querySelectorAll("time[datetime]")) {
    const words = ago(each.dateTime);
    if (each.textContent !== words) each.textContent = words;
  }
}
