"""Runs a command of the service with a bug planted into it, to show that the crash test finds it.

`python -m tests.crash.planted NAME PROGRAM ARGUMENTS…`
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from notification_service.adapters.stores.sql import sqlite
from notification_service.adapters.stores.sql.sqlite import SqliteStore
from notification_service.application.accept import Accept
from notification_service.application.deliver import Deliver
from notification_service.application.sweep import Sweep
from notification_service.domain.notification import Claim, Entry, Outcome, Settlement, Status

LATER = timedelta(seconds=0.3)
EVERY = 20
"""One in so many is treated wrongly, where a bug is meant to be rare."""


def answers_before_the_commit() -> None:
    """«Accepted» leaves while the transaction is still to come."""
    store, tasks = SqliteStore.add_many, set[asyncio.Task[Any]]()

    async def add_many(self: SqliteStore, acceptances: Sequence[Any], **options: Any) -> Sequence[None]:
        async def later() -> None:
            await asyncio.sleep(LATER.total_seconds())
            await store(self, acceptances, **options)

        tasks.add(asyncio.create_task(later()))
        return [None] * len(acceptances)

    SqliteStore.add_many = add_many  # type: ignore[method-assign]


def settles_without_writing() -> None:
    """Some endings are reported as written and are not."""
    settle = SqliteStore.settle

    async def forgetful(self: SqliteStore, settlements: Sequence[Settlement]) -> frozenset[Any]:
        written = [each for each in settlements if each.claim.notification.id.int % EVERY]
        return await settle(self, written) | {each.claim.notification.id for each in settlements}

    SqliteStore.settle = forgetful  # type: ignore[method-assign]


def never_sweeps() -> None:
    """Nobody looks for claims whose lease ran out."""

    async def once(self: Sweep) -> None:
        return None

    Sweep.once = once  # type: ignore[method-assign]


def ignores_the_epoch() -> None:
    """Whoever reports last is believed, whether or not the claim was still its own."""
    sqlite._holds = lambda settlement, states: settlement.claim.notification.id in states


def forgets_keys() -> None:
    """A repeated request is a new one."""
    accept = Accept.__call__

    async def keyless(self: Accept, submission: Any) -> Any:
        from dataclasses import replace

        return await accept(self, replace(submission, key=None))

    Accept.__call__ = keyless  # type: ignore[method-assign]


def writes_sent_before_sending() -> None:
    """The ending is written down first, as what one hopes it will be."""
    attempt = Deliver._attempt

    async def hopeful(self: Deliver, claim: Claim, *details: Any) -> Settlement:
        hoped = Settlement(claim=claim, status=Status.SENT, reason=None, entry=_delivered(claim))
        await self._store.settle([hoped])
        await asyncio.sleep(LATER.total_seconds())
        return await attempt(self, claim, *details)

    Deliver._attempt = hopeful  # type: ignore[method-assign,assignment]


def claims_twice() -> None:
    """Now and then a claim hands out what another already has."""
    claim = SqliteStore.claim

    async def generous(self: SqliteStore, *arguments: Any, **options: Any) -> Sequence[Claim]:
        claims = list(await claim(self, *arguments, **options))
        twice = [each for each in claims if each.notification.id.int % EVERY == 0]
        return (twice + claims)[: options["limit"]]

    SqliteStore.claim = generous  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[], None]] = {
    plant.__name__.replace("_", "-"): plant
    for plant in (
        answers_before_the_commit,
        settles_without_writing,
        never_sweeps,
        ignores_the_epoch,
        forgets_keys,
        writes_sent_before_sending,
        claims_twice,
    )
}


def _delivered(claim: Claim) -> Entry:
    return Entry(
        kind="attempt",
        outcome=Outcome.DELIVERED,
        started_at=claim.claimed_at,
        finished_at=claim.claimed_at,
    )


def program_of(name: str) -> Callable[[], None]:
    """Return what a command of this name runs."""
    from notification_service.entrypoints.cli import main, processes

    return {"notify": main.main, "app": processes.app, "worker": processes.worker}[name]


if __name__ == "__main__":
    plant, program, *arguments = sys.argv[1:]
    PLANTS[plant]()
    sys.argv = [program, *arguments]
    program_of(program)()
