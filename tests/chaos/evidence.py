"""What there is to see afterwards: what was promised, what the service says, and what its receivers saw."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, override

from tests.chaos.behaviour import ARRIVES, Deed
from tests.chaos.clients import Traffic
from tests.chaos.hands import Hands
from tests.chaos.plan import Order, Plan, orders
from tests.crash.evidence import QUIET_ONES_LOOKED_AT, REPEATED_KEYS
from tests.crash.evidence import Evidence as CrashEvidence
from tests.e2e.caller import Answer, Caller, many_at_once


@dataclass(frozen=True)
class Contact:
    """One time that a message reached its receiver."""

    notification_id: str
    number: int
    deed: Deed
    at: float


@dataclass(frozen=True, kw_only=True)
class Evidence(CrashEvidence):
    """Everything the verdict rests on."""

    unanswered: set[int]
    """Requests that were sent and never clearly answered: they may have been taken in or not."""
    contacts: dict[str, list[Contact]]
    accepted_at: dict[int, float]
    due_at: dict[int, str]
    dead_letters: dict[str, list[str]]
    """The reasons of the open dead letters, by notification."""

    @property
    def possibly_accepted(self) -> dict[str, int]:
        """What is stored for requests that nobody ever heard the answer of."""
        stored = {name: number_of(row["body"]) for name, row in self.rows.items()}
        return {name: number for name, number in stored.items() if number in self.unanswered}

    def attempts_made(self, notification_id: str) -> list[dict[str, Any]]:
        """The attempts that counted, oldest first; one told after its claim was found lost did not."""
        history = self.histories.get(notification_id, [])
        return [each for each in history if each["kind"] == "attempt" and not is_late(each)]

    def unexplained(self, notification_id: str) -> int:
        """How many attempts that counted had an ending which nobody knew."""
        made = self.attempts_made(notification_id)
        return sum(each["outcome"] in ("unknown", "ambiguous") for each in made)

    @override
    def story(self, notification_id: str) -> str:
        seen = ", ".join(
            f"{each.deed} {datetime.fromtimestamp(each.at):%H:%M:%S.%f}"  # noqa: DTZ006 - for people
            for each in self.contacts.get(notification_id, [])
        )
        number = self.accepted.get(notification_id)
        row = self.rows.get(notification_id, {})
        return (
            f"{super().story(notification_id)}; its receiver: {seen or 'never heard of it'}; "
            f"request {number}, reason {row.get('status_reason')}, "
            f"claims seen in hand at faults: {self.in_hand[notification_id]}"
        )


def is_late(entry: dict[str, Any]) -> bool:
    """Whether an attempt was told after its claim had been found lost."""
    return bool(entry["error_code"] == "lease_lost")


def number_of(body: str) -> int:
    """Return which request a text belongs to."""
    return int(body.split()[1])


async def gather(plan: Plan, caller: Caller, traffic: Traffic, ledger: Path, hands: Hands) -> Evidence:
    """Ask the service about everything, and read what the receivers wrote."""
    rows = {row["id"]: row for row in await caller.everything("/v1/notifications")}
    contacts = _contacts(ledger)
    arrivals = Counter(
        {name: sum(each.deed in ARRIVES for each in found) for name, found in contacts.items()}
    )
    dead: dict[str, list[str]] = {}
    for letter in await caller.everything("/v1/dead-letters"):
        dead.setdefault(letter["notification_id"], []).append(letter["reason"])
    in_hand = hands.by_notification()
    return Evidence(
        accepted={notification_id: number for number, notification_id in traffic.ledger.ids.items()},
        unanswered=traffic.unanswered,
        rows=rows,
        histories=await caller.histories(_worth_a_look(rows, contacts, in_hand)),
        arrivals=+arrivals,
        texts={name: row["body"] for name, row in rows.items()},
        in_hand=in_hand,
        replays=await _repeat_some(plan, caller, traffic),
        contacts=contacts,
        accepted_at=traffic.accepted_at,
        due_at=traffic.due_at,
        dead_letters=dead,
    )


def _contacts(ledger: Path) -> dict[str, list[Contact]]:
    found: dict[str, list[Contact]] = {}
    for line in ledger.read_text().splitlines():
        name, number, deed, at = json.loads(line)
        found.setdefault(name, []).append(Contact(name, number, Deed(deed), at))
    return found


def _worth_a_look(
    rows: dict[str, dict[str, Any]], contacts: dict[str, list[Contact]], in_hand: Counter[str]
) -> set[str]:
    """Whatever was tried more than once or was in hand at a fault, and some others."""
    eventful = {
        name
        for name, row in rows.items()
        if row["retry_count"]
        or row["status"] != "sent"
        or len(contacts.get(name, ())) != 1
        or name in in_hand
    }
    quiet = sorted(rows.keys() - eventful)
    return eventful | set(quiet[:: max(1, len(quiet) // QUIET_ONES_LOOKED_AT)])


async def _repeat_some(plan: Plan, caller: Caller, traffic: Traffic) -> dict[str, Answer]:
    """Send some single requests once more with their keys."""
    ids = traffic.ledger.ids
    every = max(1, len(ids) // REPEATED_KEYS)
    some = [each for each in _sent(plan, traffic) if not each.is_bulk and each.numbers.start in ids][::every]
    calls = [partial(caller.post, each.path, each.document, key=each.key) for each in some]
    answers = await many_at_once(calls)
    return {ids[each.numbers.start]: answer for each, answer in zip(some, answers, strict=True)}


def _sent(plan: Plan, traffic: Traffic) -> Iterator[Order]:
    """The requests as they were sent; those with a time in them cannot be made again."""
    for numbers in traffic.parts:
        for order in orders(plan, numbers, traffic.webhook_url):
            if not any(number in traffic.due_at for number in order.numbers):
                yield order
