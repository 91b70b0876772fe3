"""Everything of a process that works with a broker: accepting, relaying, delivering; on SQLite."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, override

import pytest

from notification_service.adapters.limiters.memory import MemoryLimiter
from notification_service.adapters.stores.sql.dead_letters import SqlDeadLetters
from notification_service.adapters.stores.sql.outbox import SqlOutbox
from notification_service.adapters.stores.sql.sqlite import SqliteStore
from notification_service.application import burial, deliver, publish, relay
from notification_service.application.accept import Accept
from notification_service.application.deliver import Deliver, Route
from notification_service.application.intake import Intake
from notification_service.application.publish import Publisher
from notification_service.application.relay import Relay
from notification_service.application.submission import Outcome
from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.events import ParkedLetter
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import DeadLetter, Notification, NotificationId, Status
from notification_service.observability.metrics import Metrics
from tests.application.remote import Queue, RemoteBroker
from tests.application.workshop import AT_ONCE, PACE, ScriptedProvider
from tests.stores.house import AN_HOUR, House
from tests.stores.making import a_notification, new_id

TRUST = timedelta(minutes=2)


class Outage:
    """While it lasts, the store answers nobody."""

    is_on = False

    def check(self) -> None:
        if self.is_on:
            raise StoreUnavailableError


class Store(SqliteStore):
    """The real one, with outages, and something that happens while it stores."""

    outage: Outage
    meanwhile: Callable[[], None] | None = None
    corrections_fail_with: Exception | None = None
    claims = 0

    @override
    async def add_many(self, *arguments: Any, **options: Any) -> Any:
        self.outage.check()
        results = await super().add_many(*arguments, **options)
        if self.meanwhile:
            self.meanwhile()
        return results

    @override
    async def correct_answers(self, *arguments: Any) -> None:
        if self.corrections_fail_with:
            raise self.corrections_fail_with
        await super().correct_answers(*arguments)

    @override
    async def claim(self, *arguments: Any, **options: Any) -> Any:
        self.claims += 1
        self.outage.check()
        return await super().claim(*arguments, **options)


class Outbox(SqlOutbox):
    """The real one, with outages."""

    outage: Outage
    marking_takes_seconds = 0.0

    @override
    async def take(self, **options: Any) -> Sequence[Notification]:
        self.outage.check()
        return await super().take(**options)

    @override
    async def mark_queued(self, notifications: Sequence[Notification], *, trust: timedelta) -> None:
        await asyncio.sleep(self.marking_takes_seconds)
        self.outage.check()
        await super().mark_queued(notifications, trust=trust)

    @override
    async def distrust(self, *arguments: Any, **options: Any) -> int:
        self.outage.check()
        return await super().distrust(*arguments, **options)


class DeadLetters(SqlDeadLetters):
    """The real ones, with outages."""

    outage: Outage

    @override
    async def park(self, letters: Sequence[ParkedLetter]) -> None:
        self.outage.check()
        await super().park(letters)


@dataclass
class Office:
    """Where a broker stands between accepting and delivering."""

    house: House
    outage: Outage
    store: Store
    outbox: Outbox
    letters: DeadLetters
    queue: Queue
    publisher: Publisher
    accept: Accept
    metrics: Metrics
    trust: timedelta
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    concurrency: int = 8

    def relay(self) -> Relay:
        return Relay(
            outbox=self.outbox, broker=RemoteBroker(self.queue), trust=self.trust, metrics=self.metrics
        )

    def intake(self) -> Intake:
        return Intake(
            accept=self.accept,
            dead_letters=self.letters,
            broker=RemoteBroker(self.queue),
            metrics=self.metrics,
        )

    def deliver(self, broker: RemoteBroker | None = None) -> Deliver:
        route = Route(provider=self.provider, policy=AT_ONCE, concurrency=self.concurrency)
        return Deliver(
            store=self.store,
            broker=broker or RemoteBroker(self.queue),
            routes={"email": route},
            pace=PACE,
            intake=self.intake(),
            metrics=self.metrics,
            random=lambda: 0.5,
        )

    @asynccontextmanager
    async def relaying(self, *, relays: int = 1) -> AsyncIterator[asyncio.Event]:
        """So many relays run within the block; at its end they are told to stop, and waited for."""
        async with self._running(lambda stopping: self.relay().run(stopping=stopping), relays) as stopping:
            yield stopping

    @asynccontextmanager
    async def working(self, broker: RemoteBroker | None = None) -> AsyncIterator[asyncio.Event]:
        """A worker for email runs within the block."""
        worker = self.deliver(broker)
        async with self._running(lambda stopping: worker.run(channels=["email"], stopping=stopping), 1) as it:
            yield it

    @asynccontextmanager
    async def _running(
        self, work: Callable[[asyncio.Event], Awaitable[None]], many: int
    ) -> AsyncIterator[asyncio.Event]:
        stopping = asyncio.Event()
        tasks = [asyncio.ensure_future(work(stopping)) for _ in range(many)]
        try:
            yield stopping
            assert stopping.is_set() or not [task for task in tasks if task.done()]
        finally:
            stopping.set()
            async with asyncio.timeout(5):
                await asyncio.gather(*tasks)

    async def pending(self, count: int = 1, **changes: Any) -> list[NotificationId]:
        """Stored, due and in no queue."""
        made = [a_notification(now=self.store.now(), status=Status.PENDING, **changes) for _ in range(count)]
        await self.house.add(*made)
        return [one.id for one in made]

    async def statuses(self, ids: Sequence[NotificationId]) -> set[Status]:
        return {one.status for one in await self.house.archive.get_many(ids)}

    async def become(self, ids: Sequence[NotificationId], status: Status, *, seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while await self.statuses(ids) != {status}:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def dead_letters(self) -> Sequence[DeadLetter]:
        return (await self.house.dead_letters.find(DeadLetterFilter(redriven=None), limit=100)).rows


def shown(outcomes: Sequence[Outcome]) -> bytes:
    """The answer of one: its id and its status."""
    return ",".join(
        f"{each.id} {each.status}" for each in outcomes if isinstance(each, Notification)
    ).encode()


@asynccontextmanager
async def an_office(sqlite_url: str, *, trust: timedelta = TRUST) -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(House.open(sqlite_url))
        outage, queue, metrics = Outage(), Queue(), Metrics()
        store, outbox, letters = Store(house.database), Outbox(house.database), DeadLetters(house.database)
        store.outage = outbox.outage = letters.outage = outage
        broker = RemoteBroker(queue)
        publisher = await stack.enter_async_context(Publisher(broker=broker, outbox=outbox, trust=trust))
        accept = Accept(
            store=store,
            limiter=MemoryLimiter(1_000_000),
            publisher=publisher,
            metrics=metrics,
            new_id=new_id,
            channels=frozenset({"email"}),
            keep_answers=AN_HOUR,
        )
        await stack.enter_async_context(accept)
        yield Office(house, outage, store, outbox, letters, queue, publisher, accept, metrics, trust)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenths of seconds for seconds."""
    for module, name, seconds in (
        (publish, "PATIENCE", 0.1),
        (publish, "HOLD", 0.4),
        (publish, "LONGEST_PAUSE", 3),
        (relay, "INTERVAL", 0.02),
        (relay, "RECOVERY_INTERVAL", 0.03),
        (relay, "PATIENCE", 0.3),
        (relay, "HOLD", 0.5),
        (relay, "AFTER_OUTAGE", 0.5),
        (burial, "PATIENCE", 0.2),
        (deliver, "AGAIN", 0.02),
    ):
        monkeypatch.setattr(module, name, timedelta(seconds=seconds))
