"""Everything parked."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select

from notification_service.adapters.stores.sql.archive import grant_budget
from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.rows import dead_letter_of
from notification_service.adapters.stores.sql.tables import dead_letters
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import DeadLetter, DeadLetterId, Page, Status

_COLUMNS = dead_letters.c


class SqlDeadLetters:
    """`DeadLetterStore` on both databases."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    async def get(self, dead_letter_id: DeadLetterId) -> DeadLetter | None:
        """See `DeadLetterStore.get`."""
        query = select(dead_letters).where(_COLUMNS.id == dead_letter_id)
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return dead_letter_of(row) if row else None

    async def find(
        self, where: DeadLetterFilter, *, limit: int, after: DeadLetterId | None = None
    ) -> Page[DeadLetter]:
        """See `DeadLetterStore.find`."""
        query = _matching(select(dead_letters), where).order_by(_COLUMNS.id.desc()).limit(limit + 1)
        if after:
            query = query.where(_COLUMNS.id < after)
        async with self._database.statement() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return Page(rows=tuple(dead_letter_of(row) for row in rows[:limit]), has_more=len(rows) > limit)

    async def redrive(self, ids: Sequence[DeadLetterId], *, by: str, status: Status) -> Sequence[DeadLetter]:
        """See `DeadLetterStore.redrive`."""
        return await self._redrive(select(dead_letters).where(_COLUMNS.id.in_(ids)), by=by, status=status)

    async def redrive_matching(
        self, where: DeadLetterFilter, *, by: str, status: Status, limit: int
    ) -> Sequence[DeadLetter]:
        """See `DeadLetterStore.redrive_matching`."""
        oldest = _matching(select(dead_letters), where).order_by(_COLUMNS.id).limit(limit)
        return await self._redrive(oldest, by=by, status=status)

    async def _redrive(self, wanted: Select[Any], *, by: str, status: Status) -> Sequence[DeadLetter]:
        # Rows another redrive holds are skipped: it is redriving them.
        wanted = wanted.where(_COLUMNS.redriven_at.is_(None), _COLUMNS.notification_id.is_not(None))
        async with self._database.transaction() as connection:
            found = (await connection.execute(wanted.with_for_update(skip_locked=True))).mappings().all()
            granted = await grant_budget(
                connection,
                [row["notification_id"] for row in found],
                by=by,
                status=status,
                now=self._database.sql_now(),
            )
            again = {each.id for each in granted}
            redriven = [row["id"] for row in found if row["notification_id"] in again]
            query = select(dead_letters).where(_COLUMNS.id.in_(redriven)).order_by(_COLUMNS.id)
            rows = (await connection.execute(query)).mappings().all()
        return [dead_letter_of(row) for row in rows]


def _matching(query: Select[Any], where: DeadLetterFilter) -> Select[Any]:
    if where.reason is not None:
        query = query.where(_COLUMNS.reason == where.reason.value)
    if where.channel is not None:
        query = query.where(_COLUMNS.channel == where.channel)
    if where.since is not None:
        query = query.where(_COLUMNS.dead_at >= where.since)
    if where.until is not None:
        query = query.where(_COLUMNS.dead_at <= where.until)
    if where.redriven is True:
        query = query.where(_COLUMNS.redriven_at.is_not(None))
    if where.redriven is False:
        query = query.where(_COLUMNS.redriven_at.is_(None))
    return query
