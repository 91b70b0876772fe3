"""One migrated database with every store on it, and others on the same database as other processes have."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Self

from sqlalchemy import Row, insert, literal, select, text, update
from sqlalchemy.engine import make_url

from notification_service.adapters.stores.sql.archive import SqlArchive
from notification_service.adapters.stores.sql.dead_letters import SqlDeadLetters
from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.mailbox import SqlMailbox
from notification_service.adapters.stores.sql.outbox import SqlOutbox
from notification_service.adapters.stores.sql.people import SqlSessions, SqlUsers
from notification_service.adapters.stores.sql.postgres import PostgresStore
from notification_service.adapters.stores.sql.sqlite import SqliteStore
from notification_service.adapters.stores.sql.tables import (
    dead_letters,
    idempotency_keys,
    notifications,
    sessions,
)
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.notification import Claim, Notification, NotificationId, Status
from notification_service.ports import Wakeups
from tests.stores.making import a_notification, dead

LEASE = timedelta(minutes=1)
AN_HOUR = timedelta(hours=1)


def async_url(url: str) -> str:
    """The URL with the async driver the service uses."""
    driver = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
    parsed = make_url(url)
    return parsed.set(drivername=driver[parsed.get_backend_name()]).render_as_string(hide_password=False)


class House:
    """The stores of one process."""

    def __init__(self, database: Database, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.database = database
        self.is_postgres = database.is_postgres
        self.store = PostgresStore(database) if database.is_postgres else SqliteStore(database)
        self.outbox = SqlOutbox(database)
        self.archive = SqlArchive(database)
        self.dead_letters = SqlDeadLetters(database)
        self.users = SqlUsers(database)
        self.sessions = SqlSessions(database)
        self.mailbox = SqlMailbox(database)
        self._stack = stack

    async def another(self, *, pool_size: int = 5) -> Self:
        """The same database, opened by what might be another process."""
        return await self._stack.enter_async_context(type(self).open(self.url, pool_size=pool_size))

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, pool_size: int = 5, **options: Any) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            database = Database(async_url(url), pool_size=pool_size, **options)
            stack.push_async_callback(database.aclose)
            await database.check()
            yield cls(database, url, stack)

    async def close(self) -> None:
        await self._stack.aclose()
        await self.database.aclose()

    async def wakeups(self) -> Wakeups:
        """The bell of this process, listening."""
        wakeups = SqlWakeups(self.database)
        await self._stack.enter_async_context(wakeups.listening())
        await asyncio.sleep(0.06 if self.is_postgres else 0.03)  # the first look is taken
        return wakeups

    # What tests arrange and look at.

    async def add(self, *drafts: Notification, **changes: Any) -> Sequence[Notification]:
        """Store notifications that are due now; without any, one made with `changes`."""
        added = drafts or (a_notification(now=self.store.now(), **changes),)
        await self.store.add_many([Acceptance(notifications=added)], keep_answers=AN_HOUR)
        return added

    async def add_one(self, **changes: Any) -> Notification:
        return (await self.add(**changes))[0]

    async def add_with_key(self, key: IdempotencyKey, *, body: bytes = b"{}") -> StoredAnswer | None:
        """Store one notification with its key."""
        answer = StoredAnswer(fingerprint=key.fingerprint, status_code=202, body=body)
        one = a_notification(now=self.store.now())
        acceptance = Acceptance(notifications=(one,), key=key, answer=answer)
        return (await self.store.add_many([acceptance], keep_answers=AN_HOUR))[0]

    async def claim(self, *, limit: int = 100, lease: timedelta = LEASE) -> Sequence[Claim]:
        return await self.store.claim("email", limit=limit, lease=lease)

    async def claim_one(self) -> Claim:
        [claim] = await self.claim(limit=1)
        return claim

    async def add_and_claim(self, **changes: Any) -> Claim:
        await self.add_one(**changes)
        return await self.claim_one()

    async def add_dead(self, **changes: Any) -> Notification:
        """Store one, send it, fail for good."""
        claim = await self.add_and_claim(**changes)
        await self.store.settle([dead(claim)])
        return claim.notification

    async def lose(self, claim: Claim) -> Claim:
        """Let the claim's lease run out; return it as the sweeper finds it."""
        await self.lease_ends(claim.notification.id, ago=timedelta(seconds=1))
        found = await self.store.lost_claims(limit=1000)
        [lost] = [each for each in found if each.notification.id == claim.notification.id]
        return lost

    async def lease_ends(self, notification_id: NotificationId, *, ago: timedelta) -> None:
        await self.set(notification_id, lease_until=self.store.now() - ago)

    async def set(self, notification_id: NotificationId, **values: Any) -> None:
        """Change a row behind the store's back."""
        change = update(notifications).where(notifications.c.id == notification_id).values(**values)
        async with self.database.transaction() as connection:
            await connection.execute(change)

    async def row(self, notification_id: NotificationId) -> Row[Any]:
        query = select(notifications).where(notifications.c.id == notification_id)
        async with self.database.statement() as connection:
            return (await connection.execute(query)).one()

    async def status(self, notification_id: NotificationId) -> Status:
        return Status((await self.row(notification_id)).status)

    async def get(self, notification_id: NotificationId) -> Notification:
        found = await self.archive.get(notification_id)
        assert found is not None
        return found

    async def count(self) -> int:
        """How many notifications are stored."""
        async with self.database.statement() as connection:
            return len((await connection.execute(select(notifications.c.id))).all())

    async def let_keys_expire(self) -> None:
        await self._shift(update(idempotency_keys).values(expires_at=self.store.now() - AN_HOUR))

    async def let_sessions_expire(self) -> None:
        await self._shift(update(sessions).values(expires_at=self.store.now() - AN_HOUR))

    async def park(self, **values: Any) -> None:
        """Put a dead letter that belongs to no notification beside the others."""
        await self._shift(insert(dead_letters).values(**values))

    async def analyze(self) -> None:
        """Have the database look how much there is of everything."""
        async with self.database.statement() as connection:
            await connection.execute(text("ANALYZE notifications"))

    async def kill_everything(self) -> None:
        """Make a dead letter of each notification, in two statements."""
        columns, now = notifications.c, literal(self.store.now(), notifications.c.due_at.type)
        letters = select(
            columns.id,
            columns.id,
            columns.channel_type,
            literal("bounced"),
            literal(1),
            now,
            columns.metadata,
        )
        names = ["id", "notification_id", "channel", "reason", "attempts", "dead_at", "payload"]
        await self._shift(update(notifications).values(status="failed", attempts=1))
        await self._shift(insert(dead_letters).from_select(names, letters))

    async def keys(self) -> int:
        async with self.database.statement() as connection:
            return len((await connection.execute(select(idempotency_keys.c.key))).all())

    async def _shift(self, statement: Any) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement)


async def until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Return as soon as the condition holds; fail when it doesn't in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.005)
