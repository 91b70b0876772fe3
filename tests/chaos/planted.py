"""Runs a command of the service with a bug planted into it, to show that the harness finds it.

`python -m tests.chaos.planted NAME MEMBER PROGRAM ARGUMENTS…`; MEMBER numbers the processes of one kind.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from notification_service.adapters.brokers.kafka_inbox import Ledger
from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.adapters.brokers.rabbitmq_receipts import Receipts
from notification_service.adapters.stores.sql import postgres
from notification_service.adapters.stores.sql.postgres import PostgresStore
from notification_service.application.accept import Accept
from notification_service.application.relay import Relay
from notification_service.application.submission import Admission
from notification_service.application.sweep import Sweep
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.notification import Claim, Notification, NotificationId
from tests.crash.planted import program_of

LATER = timedelta(seconds=0.3)
WRONG_BY_SECONDS = 6
"""How far the clock of one worker is behind: more than a lease."""
POISONOUS = 40
"""One in so many."""


def never_sweeps(_: int) -> None:
    """Nobody looks for claims whose lease ran out."""

    async def nothing(self: Sweep) -> int:
        return 0

    Sweep._release_lost_claims = nothing  # type: ignore[method-assign]


def settles_without_the_epoch(_: int) -> None:
    """Whoever reports last is believed, whether or not the claim was still its own."""
    _rewrite("SETTLE", "WHERE n.id = o.id AND n.epoch = o.epoch AND", "WHERE n.id = o.id AND")


def leases_by_the_process_clock(member: int) -> None:
    """A worker whose clock is wrong writes leases that are over before they begin."""
    if member == 0:
        wrong = f"now() - interval '{WRONG_BY_SECONDS} s' + CAST(:lease AS interval)"
        for name in ("CLAIM", "CLAIM_THESE"):
            _rewrite(name, "now() + CAST(:lease AS interval)", wrong)


def answers_before_the_commit(_: int) -> None:
    """«Accepted» leaves while the transaction is still to come."""
    store, tasks = PostgresStore.add_many, set[asyncio.Task[Any]]()

    async def add_many(self: PostgresStore, acceptances: Sequence[Any], **options: Any) -> Sequence[None]:
        async def later() -> None:
            await asyncio.sleep(LATER.total_seconds())
            await store(self, acceptances, **options)

        tasks.add(asyncio.create_task(later()))
        return [None] * len(acceptances)

    PostgresStore.add_many = add_many  # type: ignore[method-assign]


def one_poisons_its_batch(_: int) -> None:
    """A claim that cannot be read takes down those that came with it."""
    claim = PostgresStore.claim

    async def delicate(self: PostgresStore, *arguments: Any, **options: Any) -> Sequence[Claim]:
        claims = await claim(self, *arguments, **options)
        if any(each.notification.id.int % POISONOUS == 0 for each in claims):
            raise ValueError("poison")
        return claims

    PostgresStore.claim = delicate  # type: ignore[method-assign]


def sweeps_live_leases(_: int) -> None:
    """The sweep takes what others hold."""
    _rewrite("LOST_CLAIMS", "AND n.lease_until < now()", "")


def never_relays(_: int) -> None:
    """What is due later, or was missed by the broker, is published by nobody."""

    async def nothing(self: Relay, stopping: asyncio.Event) -> int:
        return 0

    Relay.publish_due = nothing  # type: ignore[method-assign]


def publishes_before_the_commit(_: int) -> None:
    """The message is out while the row is still to come; who gets it finds nothing to do."""
    add, publish, early = Accept._add, RabbitmqBroker.publish, set[NotificationId]()

    async def hasty(self: Accept, admissions: Sequence[Admission], *details: Any) -> Any:
        due = [one for each in admissions for one in each.notifications if not one.scheduled_for]
        with suppress(BrokerUnavailableError):
            early.update(await publish(self._publisher._broker, due))  # type: ignore[arg-type]
        await asyncio.sleep(LATER.total_seconds())
        return await add(self, admissions, *details)

    async def once(self: RabbitmqBroker, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        fresh = [each for each in notifications if each.id not in early]
        confirmed = await publish(self, fresh) if fresh else frozenset[NotificationId]()
        return confirmed | early.intersection(each.id for each in notifications)

    Accept._add = hasty  # type: ignore[method-assign,assignment]
    RabbitmqBroker.publish = once  # type: ignore[method-assign]


def acknowledges_before_the_settlement(_: int) -> None:
    """A message is gone from the queue as soon as it has arrived."""
    expect = Receipts.expect

    def hasty(self: Receipts, tag: int) -> None:
        expect(self, tag)
        self.settle([tag])

    Receipts.expect = hasty  # type: ignore[method-assign]


def commits_offsets_past_unfinished_work(_: int) -> None:
    """The group's position is that of the last message received."""
    Ledger.finished_up_to = lambda self: self.position  # type: ignore[method-assign]


TRUSTING = {
    "settings": {
        "NS_QUEUED_TIMEOUT_SECONDS": "3600",
        "NS_WORKER_CONCURRENCY": "2",
        "NS_RABBITMQ_PREFETCH": "200",
    },
    "deeds": {"worker": ("stop",)},
    "kills": 5,
    "others": 2,
    "storms": 0,
}
"""The broker loses nothing, so it is trusted for long; workers die with much in their hands."""


@dataclass(frozen=True)
class Plant:
    """A bug, and where it shows."""

    apply: Callable[[int], None]
    broker: str = "embedded"
    plan: dict[str, Any] = field(default_factory=dict)
    """What the plan needs besides, for the bug to have its chance."""


PLANTS: dict[str, Plant] = {
    plant.apply.__name__.replace("_", "-"): plant
    for plant in (
        Plant(acknowledges_before_the_settlement, "rabbitmq", TRUSTING),
        Plant(publishes_before_the_commit, "rabbitmq", TRUSTING),
        Plant(never_relays, "rabbitmq"),
        Plant(never_sweeps),
        Plant(
            settles_without_the_epoch,
            plan={"kills": 0, "others": 5, "storms": 0, "deeds": {"worker": ("freeze",)}, "seconds": 35},
        ),
        Plant(commits_offsets_past_unfinished_work, "kafka", TRUSTING),
        Plant(leases_by_the_process_clock),
        Plant(answers_before_the_commit),
        Plant(one_poisons_its_batch),
        Plant(sweeps_live_leases),
    )
}


def _rewrite(statement: str, old: str, new: str) -> None:
    """Change a statement of the hot path."""
    before = getattr(postgres, statement).text
    if old not in before:
        raise RuntimeError(f"{statement} does not say «{old}» any more: plant this bug anew")
    setattr(postgres, statement, text(before.replace(old, new)))


if __name__ == "__main__":
    plant, member, program, *arguments = sys.argv[1:]
    PLANTS[plant].apply(int(member))
    sys.argv = [program, *arguments]
    program_of(program)()
