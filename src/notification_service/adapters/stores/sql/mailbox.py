"""What the mailbox provider kept instead of sending."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.engine import RowMapping

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.tables import mailbox_messages
from notification_service.domain.mailbox import MailboxFilter, MailboxMessage, MailboxMessageId
from notification_service.domain.notification import NotificationId, Page

_COLUMNS = mailbox_messages.c


class SqlMailbox:
    """`MailboxStore` on both databases."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    async def put_many(self, messages: Sequence[MailboxMessage]) -> None:
        """See `MailboxStore.put_many`."""
        if not messages:
            return
        async with self._database.transaction() as connection:
            await connection.execute(insert(mailbox_messages), [asdict(each) for each in messages])

    async def get(self, message_id: MailboxMessageId) -> MailboxMessage | None:
        """See `MailboxStore.get`."""
        query = select(mailbox_messages).where(_COLUMNS.id == message_id)
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return _message_of(row) if row else None

    async def find(
        self, where: MailboxFilter, *, limit: int, after: MailboxMessageId | None = None
    ) -> Page[MailboxMessage]:
        """See `MailboxStore.find`."""
        query = select(mailbox_messages).where(*_conditions(where)).order_by(_COLUMNS.id.desc())
        if after:
            query = query.where(_COLUMNS.id < after)
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
        return Page(rows=tuple(_message_of(row) for row in rows[:limit]), has_more=len(rows) > limit)

    async def clear(self, where: MailboxFilter) -> int:
        """See `MailboxStore.clear`."""
        async with self._database.transaction() as connection:
            done = await connection.execute(delete(mailbox_messages).where(*_conditions(where)))
        return done.rowcount


def _conditions(where: MailboxFilter) -> list[Any]:
    exact = {"user_id": where.user_id, "to": where.to, "channel": where.channel}
    conditions: list[Any] = [_COLUMNS[name] == value for name, value in exact.items() if value is not None]
    if where.notification_id is not None:
        conditions.append(_COLUMNS.notification_id == where.notification_id)
    if where.since is not None:
        conditions.append(_COLUMNS.received_at >= where.since)
    if where.search:
        columns = (_COLUMNS.to, _COLUMNS.subject, _COLUMNS.text)
        conditions.append(or_(*(column.icontains(where.search, autoescape=True) for column in columns)))
    return conditions


def _message_of(row: RowMapping) -> MailboxMessage:
    return MailboxMessage(
        id=MailboxMessageId(row["id"]),
        notification_id=NotificationId(row["notification_id"]),
        user_id=row["user_id"],
        channel=row["channel"],
        to=row["to"],
        subject=row["subject"],
        text=row["text"],
        html=row["html"],
        headers=row["headers"],
        received_at=row["received_at"],
    )
