/* What states, outcomes and channels are called, and how they are coloured. */

const CHANNELS = { email: "Email", sms: "SMS", push: "Push", webhook: "Webhook", chat: "Chat", in_app: "In-app" };
const WITH_ICON = new Set(["email", "sms", "push"]);

const STATES = {
  pending: ["Pending", "waiting", "It waits for its time, for another try or for the queue."],
  queued: ["Queued", "waiting", "It is in the queue that workers read."],
  sending: ["Sending", "waiting", "A worker is handing it to the provider."],
  sent: ["Sent", "good", "The provider took it."],
  delivered: ["Delivered", "good", "The provider confirmed that it arrived."],
  failed: ["Failed", "bad", "It was given up."],
  cancelled: ["Cancelled", "odd", "Somebody cancelled it."],
  suppressed: ["Suppressed", "odd", "It was held back on purpose."],
  expired: ["Expired", "odd", "Its time ran out before it could be sent."],
};

const OUTCOMES = {
  delivered: ["The provider took it", "good"],
  transient_error: ["Failed for now", "waiting"],
  permanent_error: ["Refused for good", "bad"],
  ambiguous: ["Nobody knows whether it arrived", "waiting"],
  unknown: ["The worker vanished before the end was known", "waiting"],
  held: ["Held", "waiting"],
  suppressed: ["Held back on purpose", "odd"],
  expired: ["Expired", "odd"],
  cancelled: ["Cancelled", "odd"],
  redriven: ["Sent on its way again", "waiting"],
};

export function channelLabel(channel) {
  return CHANNELS[channel] ?? channel;
}

export function channelIcon(channel) {
  return WITH_ICON.has(channel) ? channel : "other";
}

export function state(status) {
  const [label, tone, meaning] = STATES[status] ?? ["Unknown", "odd", "Its notification no longer exists."];
  return { label, tone, meaning };
}

export function outcome(name) {
  const [label, tone] = OUTCOMES[name] ?? [spaced(name), "odd"];
  return { label, tone };
}

/** Whether a notification is still on its way, so that its state is worth another look. */
export function isUnsettled(status) {
  return status === "pending" || status === "queued" || status === "sending";
}

/** Turn `retry_scheduled` into `retry scheduled`. */
export function spaced(name) {
  return String(name).replaceAll("_", " ");
}
