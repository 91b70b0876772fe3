"""The hot path on SQLite: the write lock comes first, so what was read still holds when it is written."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, case, delete, func, insert, or_, select, text, tuple_, update
from sqlalchemy.dialects.sqlite import insert as insert_or
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.rows import claim_of, once_per_claim, payload_of, row_of
from notification_service.adapters.stores.sql.tables import (
    WAITING_SQL,
    attempts,
    dead_letters,
    idempotency_keys,
    notifications,
)
from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import (
    Backlog,
    Claim,
    Entry,
    Notification,
    NotificationId,
    Settlement,
    Status,
)

_COLUMNS = notifications.c
# As the partial indexes have it: only the same words, no parameters, let SQLite use them.
_WAITS = text(WAITING_SQL)


class SqliteStore:
    """`NotificationStore` on SQLite."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    def now(self) -> datetime:
        """See `NotificationStore.now`."""
        return self._database.now()

    async def check(self) -> str:
        """See `NotificationStore.check`."""
        return await self._database.check(must_write=True)

    async def add_many(
        self, acceptances: Sequence[Acceptance], *, keep_answers: timedelta, hold: timedelta = timedelta()
    ) -> Sequence[StoredAnswer | None]:
        """See `NotificationStore.add_many`."""
        async with self._database.transaction() as connection:
            now = self.now()
            held = await _answers(connection, [each.key for each in acceptances if each.key], now)
            results = [_take(each, held) for each in acceptances]
            stored = [each for each, answer in zip(acceptances, results, strict=True) if answer is None]
            await _insert_keys(connection, stored, now + keep_answers)
            rows = [
                row_of(one) | {"lease_until": now + hold if hold and _is_unpublished(one, now) else None}
                for each in stored
                for one in each.notifications
            ]
            await _insert(connection, notifications, rows)
            return results

    async def correct_answers(self, answers: Sequence[tuple[IdempotencyKey, StoredAnswer]]) -> None:
        """See `NotificationStore.correct_answers`."""
        if not answers:
            return
        rows = [
            {"of": key.caller, "under": key.key, "asked": key.fingerprint, "new": answer.body}
            for key, answer in answers
        ]
        async with self._database.transaction() as connection:
            await connection.execute(_CORRECT_ANSWER, rows)

    async def find_answers(self, keys: Sequence[IdempotencyKey]) -> Sequence[StoredAnswer | None]:
        """See `NotificationStore.find_answers`."""
        async with self._database.statement() as connection:
            held = await _answers(connection, keys, self.now())
        return [held.get((key.caller, key.key)) for key in keys]

    async def claim(
        self,
        channel: ChannelType,
        *,
        limit: int,
        lease: timedelta,
        ids: Sequence[NotificationId] | None = None,
    ) -> Sequence[Claim]:
        """See `NotificationStore.claim`."""
        if not await self._is_any_due(channel):  # an idle worker must not take the write lock
            return ()
        async with self._database.transaction() as connection:
            now = self.now()
            due = _due(_COLUMNS.id, channel=channel, now=now).limit(limit)
            if ids is not None:
                due = due.where(_COLUMNS.id.in_(ids))
            claimed = (await connection.execute(due)).scalars().all()
            rows = await _mark_sending(connection, claimed, now + lease)
        rows = sorted(rows, key=lambda row: (-row["priority"], row["due_at"], row["id"]))
        return [claim_of(row, claimed_at=now) for row in rows]

    async def _is_any_due(self, channel: ChannelType) -> bool:
        async with self._database.statement() as connection:
            due = _due(_COLUMNS.id, channel=channel, now=self.now()).limit(1)
            return (await connection.execute(due)).first() is not None

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[NotificationId]:
        """See `NotificationStore.settle`."""
        async with self._database.transaction() as connection:
            now = self.now()
            states = await _states(connection, settlements)
            effective = [each for each in once_per_claim(settlements) if _holds(each, states)]
            late = [each for each in settlements if _is_late(each, states)]
            if effective:
                await connection.execute(_SETTLE, [_settled(each, now) for each in effective])
            if lines := _history(effective, late, now):
                await connection.execute(_WRITE_HISTORY, lines)
            await _insert(
                connection, dead_letters, [_dead(each, now) for each in effective if each.dead_letter]
            )
        return frozenset(each.claim.notification.id for each in effective)

    async def lost_claims(self, *, limit: int) -> Sequence[Claim]:
        """See `NotificationStore.lost_claims`."""
        now = self.now()
        lost = (
            select(notifications)
            .where(_COLUMNS.status == Status.SENDING.value, _COLUMNS.lease_until < now)
            .order_by(_COLUMNS.lease_until)
            .limit(limit)
        )
        async with self._database.statement() as connection:
            rows = (await connection.execute(lost)).mappings().all()
        return [claim_of(row, claimed_at=now) for row in rows]

    async def expire(self, *, limit: int) -> int:
        """See `NotificationStore.expire`."""
        now = self.now()
        due = select(_COLUMNS.id).where(_COLUMNS.expires_at <= now, _WAITS).limit(limit)
        async with self._database.statement() as connection:
            if (await connection.execute(due.limit(1))).first() is None:
                return 0
        async with self._database.transaction() as connection:
            expired = (await connection.execute(_expired(due))).scalars().all()
            await _insert(connection, attempts, [_decision(one, "expired", now) for one in expired])
        return len(expired)

    async def forget_answers(self, *, limit: int) -> int:
        """See `NotificationStore.forget_answers`."""
        key = tuple_(idempotency_keys.c.caller, idempotency_keys.c.key)
        old = select(idempotency_keys.c.caller, idempotency_keys.c.key)
        old = old.where(idempotency_keys.c.expires_at <= self.now()).limit(limit)
        async with self._database.transaction() as connection:
            return (await connection.execute(delete(idempotency_keys).where(key.in_(old)))).rowcount

    async def backlog(self) -> Backlog:
        """See `NotificationStore.backlog`."""
        sent_now = select(func.count(_COLUMNS.id)).where(_COLUMNS.status == Status.SENDING.value)
        open_letters = select(func.count()).where(dead_letters.c.redriven_at.is_(None))
        counts = select(
            *(func.count(case((_COLUMNS.status == name, 1))) for name in ("pending", "queued")),
            sent_now.scalar_subquery(),
            open_letters.scalar_subquery(),
            func.min(_COLUMNS.due_at),
        ).where(_WAITS)
        async with self._database.statement() as connection:
            pending, queued, sending, dead, oldest = tuple((await connection.execute(counts)).one())
        waited = self.now() - oldest if oldest else timedelta()
        return Backlog(
            pending=pending,
            queued=queued,
            sending=sending,
            dead_letters=dead,
            oldest_due=max(waited, timedelta()),
        )


def _is_unpublished(notification: Notification, now: datetime) -> bool:
    return notification.status is Status.PENDING and notification.due_at <= now


_CORRECT_ANSWER = (
    update(idempotency_keys)
    .where(
        idempotency_keys.c.caller == bindparam("of"),
        idempotency_keys.c.key == bindparam("under"),
        idempotency_keys.c.fingerprint == bindparam("asked"),
    )
    .values(answer=bindparam("new"))
)


type _Answers = dict[tuple[str, str], StoredAnswer]


async def _answers(connection: AsyncConnection, keys: Sequence[IdempotencyKey], now: datetime) -> _Answers:
    if not keys:
        return {}
    table = idempotency_keys.c
    names = sorted({(key.caller, key.key) for key in keys})
    query = select(idempotency_keys).where(tuple_(table.caller, table.key).in_(names), table.expires_at > now)
    rows = (await connection.execute(query)).mappings()
    return {
        (row["caller"], row["key"]): StoredAnswer(
            fingerprint=row["fingerprint"], status_code=row["status_code"], body=row["answer"]
        )
        for row in rows
    }


def _take(acceptance: Acceptance, held: _Answers) -> StoredAnswer | None:
    """The answer already kept under the acceptance's key; else keep its own for the next with that key."""
    if acceptance.key is None or acceptance.answer is None:
        return None
    name = (acceptance.key.caller, acceptance.key.key)
    answer = held.get(name)
    held.setdefault(name, acceptance.answer)
    return answer


async def _insert_keys(
    connection: AsyncConnection, acceptances: Sequence[Acceptance], expires_at: datetime
) -> None:
    rows = [
        {
            "caller": each.key.caller,
            "key": each.key.key,
            "fingerprint": each.answer.fingerprint,
            "status_code": each.answer.status_code,
            "answer": each.answer.body,
            "expires_at": expires_at,
        }
        for each in acceptances
        if each.key and each.answer
    ]
    names = [(row["caller"], row["key"]) for row in rows]
    table = idempotency_keys.c
    if names:  # those still there are past their time
        await connection.execute(delete(idempotency_keys).where(tuple_(table.caller, table.key).in_(names)))
    await _insert(connection, idempotency_keys, rows)


async def _insert(connection: AsyncConnection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(insert(table), rows)


def _due(column: Any, *, channel: ChannelType, now: datetime) -> Select[Any]:
    return (
        select(column)
        .where(
            _COLUMNS.channel_type == channel,
            _WAITS,
            _COLUMNS.due_at <= now,
            or_(_COLUMNS.expires_at.is_(None), _COLUMNS.expires_at > now),
        )
        .order_by(_COLUMNS.priority.desc(), _COLUMNS.due_at, _COLUMNS.id)
    )


async def _mark_sending(
    connection: AsyncConnection, ids: Sequence[Any], lease_until: datetime
) -> Sequence[RowMapping]:
    if not ids:
        return ()
    claimed = (
        update(notifications)
        .where(_COLUMNS.id.in_(ids))
        .values(status=Status.SENDING.value, epoch=_COLUMNS.epoch + 1, lease_until=lease_until)
        .returning(notifications)
    )
    rows: Sequence[RowMapping] = (await connection.execute(claimed)).mappings().all()
    return rows


type _States = dict[NotificationId, tuple[int, str]]


async def _states(connection: AsyncConnection, settlements: Sequence[Settlement]) -> _States:
    ids = [each.claim.notification.id for each in settlements]
    query = select(_COLUMNS.id, _COLUMNS.epoch, _COLUMNS.status).where(_COLUMNS.id.in_(ids))
    return {row.id: (row.epoch, row.status) for row in await connection.execute(query)}


def _holds(settlement: Settlement, states: _States) -> bool:
    held = (settlement.claim.epoch, Status.SENDING.value)
    return states.get(settlement.claim.notification.id) == held


def _is_late(settlement: Settlement, states: _States) -> bool:
    epoch, _ = states.get(settlement.claim.notification.id, (0, ""))
    return epoch > settlement.claim.epoch and not settlement.claim_is_lost


_SETTLE = (
    update(notifications)
    .where(_COLUMNS.id == bindparam("settled_id"))
    .values(
        status=bindparam("new_status"),
        status_reason=bindparam("new_reason"),
        attempts=bindparam("counted"),
        retry_count=func.max(bindparam("counted") - 1, 0),
        due_at=func.coalesce(bindparam("again_at", type_=_COLUMNS.due_at.type), _COLUMNS.due_at),
        sent_at=func.coalesce(_COLUMNS.sent_at, bindparam("arrived_at", type_=_COLUMNS.sent_at.type)),
        epoch=_COLUMNS.epoch + bindparam("ended_epochs"),
        lease_until=None,
    )
)


_WRITE_HISTORY = insert_or(attempts).on_conflict_do_nothing(  # an ending told twice meets its own line
    index_elements=["notification_id", "epoch", "outcome"]
)


def _settled(settlement: Settlement, now: datetime) -> dict[str, Any]:
    notification, delay = settlement.claim.notification, settlement.delay
    return {
        "settled_id": notification.id,
        "new_status": settlement.status.value,
        "new_reason": settlement.reason,
        "counted": notification.attempts + (settlement.entry.kind == "attempt"),
        "again_at": None if delay is None else now + delay,
        "ended_epochs": int(settlement.claim_is_lost),
        "arrived_at": now if settlement.status in {Status.SENT, Status.DELIVERED} else None,
    }


def _history(
    effective: Sequence[Settlement], late: Sequence[Settlement], now: datetime
) -> list[dict[str, Any]]:
    entries = [_entry(each, now, late=False) for each in effective]
    entries += [_entry(each, now, late=True) for each in late]
    return sorted(entries, key=lambda entry: entry["finished_at"])


def _late_detail(entry: Entry) -> str | None:
    return ": ".join(each for each in (entry.error_code, entry.detail) if each) or None


def _entry(settlement: Settlement, now: datetime, *, late: bool) -> dict[str, Any]:
    entry = settlement.entry
    again = now + settlement.delay if settlement.delay is not None and not late else None
    return {
        "notification_id": settlement.claim.notification.id,
        "epoch": settlement.claim.epoch,
        "kind": entry.kind,
        "outcome": entry.outcome.value,
        "provider": entry.provider,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
        "error_code": "lease_lost" if late else entry.error_code,
        "detail": _late_detail(entry) if late else entry.detail,
        "next_attempt_at": again,
    }


def _dead(settlement: Settlement, now: datetime) -> dict[str, Any]:
    notification = settlement.claim.notification
    return {
        "id": uuid7(),
        "notification_id": notification.id,
        "user_id": notification.user_id,
        "channel": notification.channel_type,
        "reason": settlement.reason,
        "detail": settlement.entry.detail,
        "attempts": notification.attempts + (settlement.entry.kind == "attempt"),
        "dead_at": now,
        "payload": payload_of(notification),
    }


def _expired(due: Select[Any]) -> Any:
    return (
        update(notifications)
        .where(_COLUMNS.id.in_(due.scalar_subquery()))
        .values(status=Status.EXPIRED.value, status_reason="expired")
        .returning(_COLUMNS.id)
    )


def _decision(notification_id: Any, outcome: str, now: datetime) -> dict[str, Any]:
    return {
        "notification_id": notification_id,
        "kind": "decision",
        "outcome": outcome,
        "started_at": now,
        "finished_at": now,
    }
