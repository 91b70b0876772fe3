/* What happened to a message's notification: its state and every attempt. */

import { element } from "./elements.js";
import { ago, duration, exact, timeOfDay } from "./times.js";
import { outcome, spaced, state } from "./words.js";

/** Show the state, what it means, and the history below. */
export function delivery({ notification, attempts }) {
  if (!notification) {
    return element("p", { class: "muted", text: "The notification behind this message no longer exists." });
  }
  const lines = attempts.map(attemptLine);
  return element("div", { class: "delivery" }, summary(notification), element("ol", { class: "timeline" }, accepted(notification), ...lines));
}

export function stateBadge(status) {
  const { label, tone, meaning } = state(status);
  return element("span", { class: "state", "data-tone": tone, title: meaning, text: label });
}

function summary(notification) {
  const reason = notification.status_reason && `Reason: ${spaced(notification.status_reason)}.`;
  const retries = notification.retry_count && `Tried again ${times(notification.retry_count)}.`;
  const words = [state(notification.status).meaning, reason, retries].filter(Boolean).join(" ");
  return element("p", { class: "summary" }, stateBadge(notification.status), element("span", { text: words }));
}

function times(count) {
  return count === 1 ? "once" : `${count} times`;
}

function accepted(notification) {
  return line({ tone: "good", label: "Accepted", at: notification.created_at, facts: [] });
}

function attemptLine(attempt) {
  const { label, tone } = outcome(attempt.outcome);
  const facts = [attempt.kind === "attempt" && `Attempt ${attempt.number}`, attempt.provider && `by ${attempt.provider}`];
  if (attempt.kind === "attempt") facts.push(duration(attempt.duration_ms));
  return line({ tone, label, at: attempt.started_at, facts, attempt });
}

function line({ tone, label, at, facts, attempt }) {
  const said = facts.filter(Boolean).join(" · ");
  return element(
    "li",
    { "data-tone": tone },
    element("div", { class: "moment" }, element("strong", { text: label }), clockTime(at)),
    said && element("p", { class: "facts", text: said }),
    attempt && problem(attempt),
    attempt?.next_attempt_at && next(attempt),
  );
}

function clockTime(iso) {
  return element("span", { class: "when", title: exact(iso), text: timeOfDay(iso) });
}

function problem({ error_code: code, detail }) {
  if (!code && !detail) return null;
  return element("p", { class: "problem" }, code && element("code", { text: code }), detail && element("span", { text: detail }));
}

function next({ outcome: name, next_attempt_at: at }) {
  const why = name === "transient_error" ? "The error may pass" : "It is not finished";
  const ahead = new Date(at) > Date.now();
  const when = ahead ? `tries again ${ago(at)}, at ${timeOfDay(at)}` : `tried again from ${timeOfDay(at)} on`;
  return element("p", { class: "next", text: `${why}: ${when}.` });
}
