"""Where notifications are taken in, with parts that can be told to fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, override
from uuid import UUID

from sqlalchemy import text

from notification_service.adapters.brokers.embedded import EmbeddedBroker
from notification_service.adapters.limiters.memory import MemoryLimiter
from notification_service.adapters.stores.sql.outbox import SqlOutbox
from notification_service.adapters.stores.sql.sqlite import SqliteStore
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.application.accept import Accept
from notification_service.application.publish import Publisher
from notification_service.application.submission import Accepted, Outcome, Submission
from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.errors import (
    LimiterUnavailableError,
)
from notification_service.domain.notification import (
    Draft,
    Notification,
    NotificationId,
    Trail,
)
from notification_service.observability.metrics import Metrics
from notification_service.ports import Allowance
from tests.stores.house import AN_HOUR, House
from tests.stores.making import EMAIL, new_id

LIMIT = 5
TRUST = timedelta(minutes=2)
TRAIL = Trail(request_id="request-1", correlation_id="correlation-1", traceparent="00-1-2-01")


class Store(SqliteStore):
    """The real one, which can be told to fail."""

    fails_with: BaseException | None = None
    hangs = False
    pause = timedelta()
    calls = 0

    @override
    async def add_many(
        self, acceptances: Sequence[Acceptance], *, keep_answers: timedelta, hold: timedelta = timedelta()
    ) -> Sequence[StoredAnswer | None]:
        self.calls += 1
        await asyncio.sleep(60 if self.hangs else self.pause.total_seconds())
        if self.fails_with:
            raise self.fails_with
        return await super().add_many(acceptances, keep_answers=keep_answers, hold=hold)


class Limiter(MemoryLimiter):
    """The real one, which can be told to be out of reach."""

    is_away = False

    @override
    async def allow_many(self, user_ids: Sequence[str]) -> Sequence[Allowance]:
        if self.is_away:
            raise LimiterUnavailableError
        return await super().allow_many(user_ids)

    async def counted(self, user_id: str = "ann") -> int:
        """How many of the user's notifications count, without counting one more."""
        [allowance] = await self.allow_many([user_id])
        if allowance.allowed:
            await self.give_back_many([user_id])
            return allowance.limit - allowance.remaining - 1
        return allowance.limit


class Broker(EmbeddedBroker):
    """The real one, which can be told to hang or fail."""

    fails_with: BaseException | None = None
    hangs = False
    published: list[NotificationId]

    @override
    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        if self.hangs:
            await asyncio.sleep(60)
        if self.fails_with:
            raise self.fails_with
        self.published += [each.id for each in notifications]
        return await super().publish(notifications)


@dataclass
class Desk:
    """Where notifications are taken in."""

    house: House
    store: Store
    limiter: Limiter
    broker: Broker
    publisher: Publisher
    accept: Accept
    metrics: Metrics

    def another(self) -> Accept:
        """As another process has it: they share the store and the limiter."""
        return Accept(
            store=self.store,
            limiter=self.limiter,
            publisher=self.publisher,
            metrics=Metrics(),
            new_id=new_id,
            channels=frozenset({"email"}),
            keep_answers=AN_HOUR,
        )

    async def stored(self) -> int:
        return await self.house.count()

    async def the_one(self) -> Notification:
        """The only notification there is."""
        async with self.house.database.statement() as connection:
            [row] = (await connection.execute(text("SELECT id FROM notifications"))).all()
        return await self.house.get(NotificationId(UUID(row[0])))


def render(outcomes: Sequence[Outcome]) -> bytes:
    """The id of what was accepted, or the code of the refusal."""
    return json.dumps(
        [str(each.id) if isinstance(each, Notification) else each.code for each in outcomes]
    ).encode()


def a_draft(**changes: Any) -> Draft:
    return replace(Draft(user_id="ann", channel=EMAIL, body="Your parcel is here."), **changes)


def a_submission(*drafts: Draft, key: IdempotencyKey | None = None, **changes: Any) -> Submission:
    made = Submission(drafts=drafts or (a_draft(),), trail=TRAIL, render=render, status_code=202, key=key)
    return replace(made, **changes)


async def at_once(desk: Desk, submissions: Sequence[Submission]) -> list[Accepted | BaseException]:
    async with asyncio.timeout(10):
        return await asyncio.gather(*map(desk.accept, submissions), return_exceptions=True)


def outcomes(accepted: Accepted) -> list[str]:
    return json.loads(accepted.answer)  # type: ignore[no-any-return]


@asynccontextmanager
async def a_desk(sqlite_url: str) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(House.open(sqlite_url))
        broker = Broker(SqlWakeups(house.database))
        broker.published = []
        store, limiter, metrics = Store(house.database), Limiter(LIMIT), Metrics()
        outbox = SqlOutbox(house.database)
        publisher = await stack.enter_async_context(Publisher(broker=broker, outbox=outbox, trust=TRUST))
        accept = Accept(
            store=store,
            limiter=limiter,
            publisher=publisher,
            metrics=metrics,
            new_id=new_id,
            channels=frozenset({"email"}),
            keep_answers=AN_HOUR,
        )
        await stack.enter_async_context(accept)
        yield Desk(house, store, limiter, broker, publisher, accept, metrics)
