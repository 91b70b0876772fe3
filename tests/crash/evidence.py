"""What there is to see afterwards: what was promised, what the service says, and what arrived."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.crash.hands import ClaimInHand
from tests.crash.plan import Plan
from tests.e2e.caller import Answer, Caller, many_at_once
from tests.e2e.sink import Sink

REPEATED_KEYS = 100
QUIET_ONES_LOOKED_AT = 300
"""Histories that are read although nothing seems to have happened there."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything the verdict rests on."""

    accepted: dict[str, int]
    """Request by notification."""
    rows: dict[str, dict[str, Any]]
    histories: dict[str, list[dict[str, Any]]]
    arrivals: Counter[str]
    texts: dict[str, str]
    in_hand: Counter[str]
    """By notification, how many of its claims were in hand at a kill or a freeze."""
    replays: dict[str, Answer]

    def repeats(self, notification_id: str) -> int:
        """How often it arrived once too often."""
        return max(self.arrivals[notification_id] - 1, 0)

    def attempts(self, notification_id: str, *outcomes: str) -> int:
        """How many attempts ended like this."""
        return sum(entry["outcome"] in outcomes for entry in self.histories.get(notification_id, ()))

    def story(self, notification_id: str) -> str:
        """What is known about one notification, in a line."""
        row, history = self.rows.get(notification_id, {}), self.histories.get(notification_id, [])
        told = [f"{each['outcome']}({each['error_code'] or ''}) {each['finished_at']}" for each in history]
        return (
            f"{notification_id}: {row.get('status', 'not stored')}, retry_count {row.get('retry_count')}, "
            f"arrived {self.arrivals[notification_id]} times; {'; '.join(told) or 'no history read'}"
        )

    def counted(self, notification_id: str) -> list[dict[str, Any]]:
        """The attempts that took effect, oldest first; one whose claim was lost before didn't."""
        history = self.histories.get(notification_id, [])
        attempts = [each for each in history if each["kind"] == "attempt"]
        return [each for each in attempts if each["next_attempt_at"] or _ended_it(each)]


async def gather(
    *,
    plan: Plan,
    caller: Caller,
    accepted: dict[int, str],
    sink: Sink,
    in_hand: list[frozenset[ClaimInHand]],
) -> Evidence:
    """Ask the service about everything, and look at what arrived."""
    rows = {row["id"]: row for row in await caller.everything("/v1/notifications")}
    mailbox = await caller.everything("/v1/mailbox")
    arrivals = sink.arrivals + Counter(mail["notification_id"] for mail in mailbox)
    claims = Counter(name for name, _ in frozenset[ClaimInHand]().union(*in_hand))
    return Evidence(
        accepted={notification_id: number for number, notification_id in accepted.items()},
        rows=rows,
        histories=await caller.histories(_worth_a_look(rows, arrivals, claims)),
        arrivals=arrivals,
        texts={mail["notification_id"]: mail["text"] for mail in mailbox}
        | {name: content["body"] for name, content in sink.contents.items()},
        in_hand=claims,
        replays=await _repeat_some(plan, caller, accepted, sink.url),
    )


def _ended_it(entry: dict[str, Any]) -> bool:
    return entry["outcome"] == "delivered" and entry["error_code"] is None


def _worth_a_look(rows: dict[str, dict[str, Any]], arrivals: Counter[str], claims: Counter[str]) -> set[str]:
    """Whatever was tried more than once or was in hand when something died, and some others."""
    eventful = {name for name in rows if rows[name]["retry_count"] or arrivals[name] != 1 or name in claims}
    quiet = sorted(rows.keys() - eventful)
    return eventful | set(quiet[:: max(1, len(quiet) // QUIET_ONES_LOOKED_AT)])


async def _repeat_some(
    plan: Plan, caller: Caller, accepted: dict[int, str], sink_url: str
) -> dict[str, Answer]:
    """Send some requests once more with their keys."""
    some = sorted(accepted)[:: max(1, len(accepted) // REPEATED_KEYS)]

    def again(number: int) -> Any:
        return lambda: caller.post("/v1/notifications", plan.request(number, sink_url), key=plan.key(number))

    answers = await many_at_once([again(number) for number in some])
    return {accepted[number]: answer for number, answer in zip(some, answers, strict=True)}
