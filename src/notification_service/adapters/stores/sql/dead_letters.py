"""Everything parked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from uuid_utils.compat import uuid7

from notification_service.adapters.stores.sql.archive import grant_budget
from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.rows import dead_letter_of
from notification_service.adapters.stores.sql.tables import dead_letters, idempotency_keys
from notification_service.domain.events import LARGEST_PARKED_BYTES, ParkedLetter
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import DeadLetter, DeadLetterId, Page, Status

LETTERS = "broker letters"
"""Under which caller the names of parked letters are remembered."""
REMEMBERED = timedelta(days=7)
"""Longer than a broker hands out the same message again."""

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

    async def park(self, letters: Sequence[ParkedLetter]) -> None:
        """See `DeadLetterStore.park`: a letter's name is remembered like a request's idempotency key."""
        named = {each.letter.identity: each for each in letters}
        if not named:
            return
        insert = postgres_insert if self._database.is_postgres else sqlite_insert
        now = self._database.now()
        names = insert(idempotency_keys).on_conflict_do_nothing().returning(idempotency_keys.c.key)
        async with self._database.transaction() as connection:
            found = await connection.execute(names, [_remembered(name, now) for name in sorted(named)])
            if rows := [_parked(named[name], now) for name in found.scalars()]:
                await connection.execute(insert(dead_letters), rows)

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


def _remembered(name: str, now: datetime) -> dict[str, Any]:
    return {
        "caller": LETTERS,
        "key": name,
        "fingerprint": b"",
        "status_code": 0,
        "answer": b"",
        "expires_at": now + REMEMBERED,
    }


def _parked(parked: ParkedLetter, now: datetime) -> dict[str, Any]:
    letter, body = parked.letter, parked.letter.body[:LARGEST_PARKED_BYTES]
    payload = {
        "source": letter.source,
        "body": body.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "truncated": len(letter.body) > len(body),
        "correlation_id": letter.correlation_id and _printable(letter.correlation_id),
    }
    return {
        "id": uuid7(),
        "notification_id": None,
        "user_id": None,
        "channel": None,
        "reason": parked.reason.value,
        "detail": parked.detail,
        "attempts": 0,
        "dead_at": now,
        "payload": payload,
    }


def _printable(text: str) -> str:
    """What a database takes, whatever another producer wrote."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


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
