"""What callers get: each answer is built once, as the bytes that leave."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

from notification_service.application.health import CheckStatus, ReadyStatus
from notification_service.domain.channels import ChannelType
from notification_service.domain.mailbox import MailboxMessage
from notification_service.domain.notification import (
    DeadLetter,
    Entry,
    EntryKind,
    Notification,
    Outcome,
    Page,
    Reason,
    Status,
)
from notification_service.entrypoints.api.problems import Problem


class NotificationAnswer(BaseModel):
    """A notification and where it is in its life."""

    id: UUID
    user_id: str
    channel: dict[str, Any]
    body: str
    metadata: dict[str, Any]
    status: Status
    status_reason: Reason | None
    retry_count: int = Field(description="Attempts after the first")
    priority: int
    created_at: datetime
    due_at: datetime
    sent_at: datetime | None
    scheduled_for: datetime | None
    expires_at: datetime | None
    category: str | None
    reference: str | None
    template: None
    variables: None
    fallbacks: None


def notification(row: Notification) -> dict[str, Any]:
    """Show a notification; another profile's is shown as it is."""
    return {
        "id": row.id,
        "user_id": row.user_id,
        "channel": row.channel,
        "body": row.body,
        "metadata": row.metadata,
        "status": row.status,
        "status_reason": row.status_reason,
        "retry_count": row.retry_count,
        "priority": row.priority,
        "created_at": row.created_at,
        "due_at": row.due_at,
        "sent_at": row.sent_at,
        "scheduled_for": row.scheduled_for,
        "expires_at": row.expires_at,
        "category": row.category,
        "reference": row.reference,
        "template": None,
        "variables": None,
        "fallbacks": None,
    }


class EntryAnswer(BaseModel):
    """One line of a notification's history."""

    number: int
    kind: EntryKind
    channel: ChannelType
    provider: str | None
    started_at: datetime
    finished_at: datetime
    duration_ms: int
    outcome: Outcome
    error_code: str | None
    detail: str | None
    next_attempt_at: datetime | None


class HistoryAnswer(BaseModel):
    """A notification's history, oldest first."""

    data: list[EntryAnswer]


def history(channel: ChannelType, entries: Sequence[Entry]) -> dict[str, Any]:
    """Show every attempt and decision, numbered from 1."""
    return {"data": [_entry(number, channel, entry) for number, entry in enumerate(entries, start=1)]}


def _entry(number: int, channel: ChannelType, entry: Entry) -> dict[str, Any]:
    return {
        "number": number,
        "kind": entry.kind,
        "channel": channel,
        "provider": entry.provider,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
        "duration_ms": round(entry.duration.total_seconds() * 1000),
        "outcome": entry.outcome,
        "error_code": entry.error_code,
        "detail": entry.detail,
        "next_attempt_at": entry.next_attempt_at,
    }


class DeadLetterAnswer(BaseModel):
    """Something that could not be delivered."""

    id: UUID
    notification_id: UUID | None = Field(description="Null for what no notification belongs to")
    user_id: str | None
    channel: ChannelType | None
    reason: Reason
    detail: str | None
    attempts: int
    dead_at: datetime
    redriven_at: datetime | None
    redriven_by: str | None
    payload: dict[str, Any]


def dead_letter(row: DeadLetter) -> dict[str, Any]:
    """Show a dead letter."""
    return {name: getattr(row, name) for name in DeadLetterAnswer.model_fields}


class MailboxMessageAnswer(BaseModel):
    """A message as its receiver would have got it."""

    id: UUID
    notification_id: UUID
    channel: ChannelType
    to: str
    subject: str | None
    text: str
    html: str | None
    headers: dict[str, str]
    received_at: datetime


def mailbox_message(row: MailboxMessage) -> dict[str, Any]:
    """Show a message of the mailbox."""
    return {name: getattr(row, name) for name in MailboxMessageAnswer.model_fields}


class PageAnswer[Row: BaseModel](BaseModel):
    """Some rows, newest first, and how to read on."""

    data: list[Row]
    next_cursor: str | None
    has_more: bool


class NotificationPage(PageAnswer[NotificationAnswer]):
    """Some notifications, newest first."""


class DeadLetterPage(PageAnswer[DeadLetterAnswer]):
    """Some dead letters, newest first."""


class MailboxPage(PageAnswer[MailboxMessageAnswer]):
    """Some messages, newest first."""


def page[Row](
    rows: Page[Row], *, show: Callable[[Row], dict[str, Any]], cursor_after: Callable[[Row], str]
) -> dict[str, Any]:
    """Show one page of a list and the cursor of the next."""
    return {
        "data": [show(row) for row in rows.rows],
        "next_cursor": cursor_after(rows.rows[-1]) if rows.has_more else None,
        "has_more": rows.has_more,
    }


class AcceptedItem(BaseModel):
    """An item of a bulk request that was stored."""

    index: int
    status: Literal["accepted"]
    notification: NotificationAnswer


class RejectedItem(BaseModel):
    """An item of a bulk request that was refused alone."""

    index: int
    status: Literal["rejected"]
    error: Problem


class BulkAnswer(BaseModel):
    """What became of each item, in the order of the request."""

    results: list[AcceptedItem | RejectedItem]
    accepted: int
    rejected: int


class RedrivenAnswer(BaseModel):
    """How many dead letters were redriven."""

    redriven: int


class TokenAnswer(BaseModel):
    """A bearer token."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Seconds")


class HealthAnswer(BaseModel):
    """The process is alive."""

    status: Literal["ok"]


class CheckAnswer(BaseModel):
    """How one dependency is."""

    status: CheckStatus
    detail: str


class ReadinessAnswer(BaseModel):
    """Whether the process may get requests."""

    status: ReadyStatus
    checks: dict[str, CheckAnswer]


def json_response(content: object, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON; times are written in UTC with a Z."""
    return raw_json(to_json(content), status_code, headers)


def raw_json(content: bytes, status_code: int, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON that is ready."""
    return Response(content, status_code=status_code, headers=headers, media_type="application/json")
