"""Which due notifications no queue holds; `lease_until` says until when a holder is trusted with one."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    false,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.rows import notification_of
from notification_service.adapters.stores.sql.tables import WAITING_SQL, notifications
from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import Notification, Status

_COLUMNS = notifications.c
# As the partial indexes have it: only the same words, no parameters, let the databases use them.
_PENDING = text("status = 'pending'")
_QUEUED = text("status = 'queued'")
_WAITS = text(WAITING_SQL)

# Each priority is looked up by itself, so that rows due later never stand between the index and the due ones.
_UNPUBLISHED_ON_POSTGRES = text("""
SELECT found.id FROM generate_series(10, 1, -1) AS urgent(priority)
CROSS JOIN LATERAL (
  SELECT id FROM notifications
  WHERE priority = urgent.priority AND status = 'pending' AND due_at <= now()
    AND (lease_until IS NULL OR lease_until <= now()) AND (expires_at IS NULL OR expires_at > now())
  ORDER BY due_at, id LIMIT CAST(:limit AS int) FOR UPDATE SKIP LOCKED
) AS found LIMIT CAST(:limit AS int)
""").columns(id=Uuid())


class SqlOutbox:
    """`Outbox` on both databases."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    async def take(self, *, limit: int, hold: timedelta) -> Sequence[Notification]:
        """See `Outbox.take`."""
        if not self._database.is_postgres and not await self._has_unpublished():
            return ()  # an idle relay must not take SQLite's write lock
        taken = (
            update(notifications)
            .where(self._chosen_by(self._unpublished(limit)))
            .values(lease_until=self._in(hold))
            .returning(notifications)
        )
        async with self._writing() as connection:
            rows = (await connection.execute(taken)).mappings().all()
        found = [notification_of(row) for row in rows]
        return sorted(found, key=lambda each: (-each.priority, each.due_at, each.id))

    async def mark_queued(self, notifications: Sequence[Notification], *, trust: timedelta) -> None:
        """See `Outbox.mark_queued`."""
        await self._change(notifications, status=Status.QUEUED.value, lease_until=self._in(trust))

    async def release(self, notifications: Sequence[Notification]) -> None:
        """See `Outbox.release`."""
        await self._change(notifications, lease_until=None)

    async def distrust(self, channels: Collection[ChannelType], *, limit: int) -> int:
        """See `Outbox.distrust`."""
        old = select(_COLUMNS.id).where(
            _QUEUED,
            _COLUMNS.channel_type.in_(sorted(channels)),
            _COLUMNS.lease_until <= self._in(timedelta()),
        )
        return await self._make_pending(old.order_by(_COLUMNS.lease_until).limit(limit))

    async def adopt(self, *, limit: int) -> int:
        """See `Outbox.adopt`."""
        # Ordered like the index of what waits, so that nobody reads the whole table to find nothing.
        order = (_COLUMNS.channel_type, _COLUMNS.priority.desc(), _COLUMNS.due_at, _COLUMNS.id)
        old = select(_COLUMNS.id).where(_WAITS, _QUEUED, _COLUMNS.lease_until.is_(None))
        return await self._make_pending(old.order_by(*order).limit(limit))

    def _in(self, time: timedelta) -> ColumnElement[datetime]:
        """The moment that far ahead by the database's clock."""
        if self._database.is_postgres:
            return self._database.sql_now() + time
        return literal(self._database.now() + time, _COLUMNS.lease_until.type)

    def _unpublished(self, limit: int) -> Any:
        if self._database.is_postgres:
            return _UNPUBLISHED_ON_POSTGRES.bindparams(limit=limit)
        now = self._in(timedelta())
        return (
            select(_COLUMNS.id)
            .where(
                _PENDING,
                _COLUMNS.due_at <= now,
                or_(_COLUMNS.lease_until.is_(None), _COLUMNS.lease_until <= now),
                or_(_COLUMNS.expires_at.is_(None), _COLUMNS.expires_at > now),
            )
            .order_by(_COLUMNS.priority.desc(), _COLUMNS.due_at, _COLUMNS.id)
            .limit(limit)
        )

    async def _has_unpublished(self) -> bool:
        async with self._database.statement() as connection:
            return (await connection.execute(self._unpublished(1))).first() is not None

    async def _change(self, held: Sequence[Notification], **values: Any) -> None:
        """Change what publishers still hold, unless an attempt was made since it was taken."""
        if held:
            await self._update(
                select(_COLUMNS.id).where(self._still(held), _PENDING, _COLUMNS.lease_until.is_not(None)),
                **values,
            )

    def _still(self, held: Sequence[Notification]) -> ColumnElement[bool]:
        by_attempts = groupby(sorted(held, key=_attempts), key=_attempts)
        return or_(
            false(),
            *(
                and_(self._among([each.id for each in these]), _COLUMNS.attempts == made)
                for made, these in by_attempts
            ),
        )

    def _among(self, ids: Sequence[Any]) -> ColumnElement[bool]:
        if self._database.is_postgres:  # one parameter, so that the statement's text never changes
            return _COLUMNS.id == any_(bindparam(None, ids, type_=ARRAY(Uuid())))
        return _COLUMNS.id.in_(ids)

    async def _make_pending(self, wanted: Select[Any]) -> int:
        return await self._update(wanted, status=Status.PENDING.value, lease_until=None)

    async def _update(self, wanted: Select[Any], **values: Any) -> int:
        # What another holds right now is moving on: skipping it, no two calls ever wait for each other.
        chosen = self._chosen_by(wanted.with_for_update(skip_locked=True))
        async with self._writing() as connection:
            changed = await connection.execute(update(notifications).where(chosen).values(**values))
        return changed.rowcount

    def _chosen_by(self, ids: Any) -> ColumnElement[bool]:
        if self._database.is_postgres:  # as an array it is looked up once; a join might repeat the LIMIT
            return _COLUMNS.id == any_(func.array(ids.scalar_subquery(), type_=ARRAY(Uuid())))
        return _COLUMNS.id.in_(ids.scalar_subquery())

    def _writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction; on PostgreSQL the statement's own, so that no frozen process keeps rows locked."""
        return self._database.statement() if self._database.is_postgres else self._database.transaction()


def _attempts(notification: Notification) -> int:
    return notification.attempts
