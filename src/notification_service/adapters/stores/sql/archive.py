"""What happened to notifications, and the transitions that people ask for."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.rows import entry_of, notification_of
from notification_service.adapters.stores.sql.tables import attempts, dead_letters, notifications
from notification_service.adapters.stores.sql.totals import Totals
from notification_service.domain.filters import NotificationFilter
from notification_service.domain.notification import (
    WAITING,
    Entry,
    Notification,
    NotificationId,
    Outcome,
    Page,
    Reason,
    Status,
)

# Ids begin with the time by the clock of the process that made them; rows with the database's. A day is more
# than any two clocks in one installation are apart.
CLOCK_MARGIN = timedelta(days=1)

_COLUMNS = notifications.c


class SqlArchive:
    """`NotificationArchive` on both databases."""

    def __init__(self, database: Database, *, replica: Database | None = None) -> None:
        """Work on an open database; lists are read from the `replica` when there is one."""
        self._database = database
        self._lists = replica or database
        self._totals = Totals()

    async def get(self, notification_id: NotificationId) -> Notification | None:
        """See `NotificationArchive.get`."""
        async with self._database.statement() as connection:
            query = select(notifications).where(_COLUMNS.id == notification_id)
            row = (await connection.execute(query)).mappings().one_or_none()
        return notification_of(row) if row else None

    async def get_many(self, ids: Collection[NotificationId]) -> Sequence[Notification]:
        """See `NotificationArchive.get_many`."""
        async with self._database.statement() as connection:
            query = select(notifications).where(_COLUMNS.id.in_(ids))
            rows = (await connection.execute(query)).mappings().all()
        return [notification_of(row) for row in rows]

    async def find(
        self, where: NotificationFilter, *, limit: int, after: NotificationId | None = None
    ) -> Page[Notification]:
        """See `NotificationArchive.find`: the id is the key, so a deep page costs what the first one does."""
        query = _matching(select(notifications), where).order_by(_COLUMNS.id.desc()).limit(limit + 1)
        if after:
            query = query.where(_COLUMNS.id < after)
        async with self._lists.statement() as connection:
            rows = (await connection.execute(query)).mappings().all()
        found = tuple(notification_of(row) for row in rows[:limit])
        return Page(rows=found, has_more=len(rows) > limit)

    async def page(
        self, where: NotificationFilter, *, number: int, size: int
    ) -> tuple[Sequence[Notification], int]:
        """See `NotificationArchive.page`: walks an index to the page, from whichever end is nearer."""
        total = await self._totals.of(where, lambda: self._count(where))
        first = (number - 1) * size
        if first >= total:
            return (), total
        ids = _stretch(_matching(select(_COLUMNS.id), where), first, min(size, total - first), total)
        query = select(notifications).where(_COLUMNS.id.in_(ids)).order_by(_COLUMNS.id.desc())
        async with self._lists.statement() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [notification_of(row) for row in rows], total

    async def _count(self, where: NotificationFilter) -> int:
        async with self._lists.statement() as connection:
            count = _matching(select(func.count()).select_from(notifications), where)
            return int((await connection.execute(count)).scalar_one())

    async def history(self, notification_id: NotificationId) -> Sequence[Entry]:
        """See `NotificationArchive.history`."""
        query = select(attempts).where(attempts.c.notification_id == notification_id).order_by(attempts.c.id)
        async with self._database.statement() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [entry_of(row) for row in rows]

    async def cancel(self, notification_id: NotificationId) -> Notification | None:
        """See `NotificationArchive.cancel`."""
        cancelled = (
            update(notifications)
            .where(_COLUMNS.id == notification_id, _COLUMNS.status.in_(sorted(WAITING)))
            .values(status=Status.CANCELLED.value, status_reason=Reason.CANCELLED_BY_USER.value)
            .returning(notifications)
        )
        now = self._database.sql_now()
        async with self._database.transaction() as connection:
            row = (await connection.execute(cancelled)).mappings().one_or_none()
            if row is None:
                return None
            await add_decision(connection, [notification_id], Outcome.CANCELLED, now)
        return notification_of(row)

    async def retry(self, notification_id: NotificationId, *, by: str, status: Status) -> Notification | None:
        """See `NotificationArchive.retry`."""
        now = self._database.sql_now()
        letters = select(dead_letters.c.id).where(dead_letters.c.notification_id == notification_id)
        async with self._database.transaction() as connection:
            # A redrive holds the letter first and the notification second; so must this.
            await connection.execute(letters.where(dead_letters.c.redriven_at.is_(None)).with_for_update())
            granted = await grant_budget(connection, [notification_id], by=by, status=status, now=now)
        return granted[0] if granted else None


async def grant_budget(
    connection: AsyncConnection, ids: Sequence[UUID], *, by: str, status: Status, now: ColumnElement[datetime]
) -> Sequence[Notification]:
    """Make failed notifications due again with a fresh budget and mark their open dead letters redriven."""
    granted = (
        update(notifications)
        .where(_COLUMNS.id.in_(ids), _COLUMNS.status == Status.FAILED.value)
        .values(status=status.value, status_reason=None, due_at=now, budget_from=_COLUMNS.attempts)
        .returning(notifications)
    )
    rows = (await connection.execute(granted)).mappings().all()
    again = [row["id"] for row in rows]
    marked = dead_letters.c.notification_id.in_(again) & dead_letters.c.redriven_at.is_(None)
    await connection.execute(update(dead_letters).where(marked).values(redriven_at=now, redriven_by=by))
    await add_decision(connection, again, Outcome.REDRIVEN, now)
    return [notification_of(row) for row in rows]


async def add_decision(
    connection: AsyncConnection, ids: Sequence[UUID], outcome: Outcome, now: ColumnElement[datetime]
) -> None:
    """Write a decision into the history of each notification."""
    decided: list[Any] = [literal("decision"), literal(outcome.value), now, now]
    columns = ["notification_id", "kind", "outcome", "started_at", "finished_at"]
    decisions = select(_COLUMNS.id, *decided).where(_COLUMNS.id.in_(ids))
    await connection.execute(insert(attempts).from_select(columns, decisions))


def _matching(query: Select[Any], where: NotificationFilter) -> Select[Any]:
    if where.user_id is not None:
        query = query.where(_COLUMNS.user_id == where.user_id)
    if where.statuses:
        query = query.where(_COLUMNS.status.in_(sorted(where.statuses)))
    if where.channel is not None:
        query = query.where(_COLUMNS.channel_type == where.channel)
    if where.reference is not None:
        query = query.where(_COLUMNS.reference == where.reference)
    if where.created_after is not None:
        query = query.where(_COLUMNS.created_at >= where.created_after)
        query = query.where(_COLUMNS.id >= _first_id(where.created_after, -CLOCK_MARGIN))
    if where.created_before is not None:
        query = query.where(_COLUMNS.created_at <= where.created_before)
        query = query.where(_COLUMNS.id <= _first_id(where.created_before, CLOCK_MARGIN))
    return query


def _first_id(moment: datetime, margin: timedelta) -> UUID:
    """The smallest UUIDv7 of a moment: its milliseconds in the upper 48 bits (RFC 9562)."""
    milliseconds = int((moment.timestamp() + margin.total_seconds()) * 1000)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def _stretch(ids: Select[Any], first: int, size: int, total: int) -> Select[Any]:
    if first <= total // 2:
        return ids.order_by(_COLUMNS.id.desc()).offset(first).limit(size)
    return ids.order_by(_COLUMNS.id).offset(total - first - size).limit(size)
