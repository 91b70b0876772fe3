"""A worker's surroundings: the real store and broker, and providers that do as the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self, override

from notification_service.adapters.brokers.embedded import EmbeddedBroker
from notification_service.adapters.stores.sql.sqlite import SqliteStore
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.application.deliver import Deliver, Pace, Route
from notification_service.application.sweep import Sweep
from notification_service.domain.channels import ChannelType
from notification_service.domain.events import Letter
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import (
    Entry,
    Message,
    Notification,
    NotificationId,
    ProviderReceipt,
    Settlement,
    Status,
)
from notification_service.domain.retry import RetryPolicy
from notification_service.observability.metrics import Metrics
from notification_service.ports import Provider
from tests.stores.house import House

AT_ONCE = RetryPolicy(max_retries=3, schedule=(timedelta(),))
PATIENT = RetryPolicy(max_retries=3, schedule=(timedelta(minutes=1), timedelta(minutes=4)))
PACE = Pace(lease=timedelta(minutes=1), send_timeout=timedelta(milliseconds=200))

type Ending = Callable[[Message], Awaitable[ProviderReceipt]]


async def take(_: Message) -> ProviderReceipt:
    return ProviderReceipt()


class ScriptedProvider:
    """A provider that notes what it is handed and ends as told: first what is in `endings`, then `always`."""

    name = "scripted"
    channels: frozenset[ChannelType] = frozenset({"email", "sms", "push", "webhook"})

    def __init__(self) -> None:
        self.endings: list[Ending | BaseException] = []
        self.always: Ending = take
        self.taken: list[Message] = []
        self.in_hand = 0
        self.most_in_hand = 0

    async def send(self, message: Message) -> ProviderReceipt:
        self.taken.append(message)
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        try:
            ending = self.endings.pop(0) if self.endings else self.always
            if isinstance(ending, BaseException):
                raise ending
            return await ending(message)
        finally:
            self.in_hand -= 1

    async def check(self) -> str:
        return "scripted"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Store(SqliteStore):
    """The real one, which can be told to fail, before or after what it does."""

    settle_fails: list[Exception]
    settle_fails_afterwards: list[Exception]
    claim_fails: list[Exception]
    claims = 0

    @override
    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[NotificationId]:
        if self.settle_fails:
            raise self.settle_fails.pop(0)
        effective = await super().settle(settlements)
        if self.settle_fails_afterwards:
            raise self.settle_fails_afterwards.pop(0)
        return effective

    @override
    async def claim(self, *arguments: Any, **options: Any) -> Any:
        self.claims += 1
        if self.claim_fails:
            raise self.claim_fails.pop(0)
        return await super().claim(*arguments, **options)


@dataclass
class Workshop:
    """Everything around one worker."""

    house: House
    store: Store
    broker: EmbeddedBroker
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    metrics: Metrics = field(default_factory=Metrics)
    policy: RetryPolicy = AT_ONCE
    pace: Pace = PACE
    concurrency: int = 64
    jitter: float = 0.5
    letters: list[Letter] = field(default_factory=list)

    async def intake(self, letters: Sequence[Letter]) -> None:
        self.letters += letters

    def deliver(self, routes: dict[ChannelType, Provider] | None = None) -> Deliver:
        providers = routes or dict.fromkeys(self.provider.channels, self.provider)
        return Deliver(
            store=self.store,
            broker=self.broker,
            routes={
                channel: Route(provider=provider, policy=self.policy, concurrency=self.concurrency)
                for channel, provider in providers.items()
            },
            pace=self.pace,
            intake=self.intake,
            metrics=self.metrics,
            random=lambda: self.jitter,
        )

    def sweep(self, *, interval: timedelta = timedelta(milliseconds=20)) -> Sweep:
        return Sweep(
            store=self.store,
            broker=self.broker,
            policies=dict.fromkeys(self.provider.channels, self.policy),
            interval=interval,
            metrics=self.metrics,
        )

    @asynccontextmanager
    async def working(self, deliver: Deliver | None = None) -> AsyncIterator[asyncio.Event]:
        """A worker runs within the block; at its end it is told to stop, and waited for."""
        stopping = asyncio.Event()
        worker = deliver or self.deliver()
        running = asyncio.create_task(worker.run(channels=worker.channels, stopping=stopping))
        try:
            yield stopping
            assert not running.done() or stopping.is_set()
        finally:
            stopping.set()
            async with asyncio.timeout(5):
                await running

    async def work(self) -> None:
        """Work until nothing waits and nothing is being sent."""
        async with self.working():
            await self.nothing_left()

    async def nothing_left(self) -> None:
        async with asyncio.timeout(5):
            while True:
                backlog = await self.store.backlog()
                if not backlog.sending and not backlog.oldest_due:
                    return
                await asyncio.sleep(0.01)

    async def becomes(self, notification_id: NotificationId, *statuses: Status) -> None:
        async with asyncio.timeout(5):
            while await self.house.status(notification_id) not in statuses:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)

    async def add(self, **changes: Any) -> Notification:
        one = await self.house.add_one(**changes)
        await self.broker.wake({one.channel_type})
        return one

    async def history(self, one: Notification) -> Sequence[Entry]:
        return await self.house.archive.history(one.id)

    async def dead_letters(self) -> Sequence[Any]:
        return (await self.house.dead_letters.find(DeadLetterFilter(redriven=None), limit=100)).rows


@asynccontextmanager
async def a_workshop(sqlite_url: str) -> AsyncIterator[Workshop]:
    async with House.open(sqlite_url) as house:
        wakeups = SqlWakeups(house.database)
        store = Store(house.database)
        store.settle_fails, store.settle_fails_afterwards, store.claim_fails = [], [], []
        yield Workshop(house, store, EmbeddedBroker(wakeups))
