"""What the mailbox provider keeps instead of sending."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

from notification_service.domain.notification import NotificationId

MailboxMessageId = NewType("MailboxMessageId", UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxMessage:
    """One message as its receiver would have got it."""

    id: MailboxMessageId
    notification_id: NotificationId
    user_id: str
    channel: str
    to: str
    subject: str | None
    text: str
    html: str | None
    headers: dict[str, str]
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxFilter:
    """Which messages to show; what is None doesn't narrow."""

    user_id: str | None = None
    to: str | None = None
    channel: str | None = None
    notification_id: NotificationId | None = None
    since: datetime | None = None
    search: str | None = None
    """Part of the address, subject or text, in any case."""
