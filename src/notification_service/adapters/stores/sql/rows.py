"""From rows to what the domain speaks of, and back."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.engine import RowMapping

from notification_service.domain.notification import (
    Claim,
    DeadLetter,
    DeadLetterId,
    Entry,
    Notification,
    NotificationId,
    Outcome,
    Reason,
    Settlement,
    Status,
    Trail,
)


def notification_of(row: RowMapping) -> Notification:
    """One row of `notifications`."""
    return Notification(
        id=NotificationId(_uuid(row["id"])),
        user_id=row["user_id"],
        channel={**_object(row["channel_data"]), "type": row["channel_type"]},
        body=row["body"],
        metadata=_object(row["metadata"]),
        status=Status(row["status"]),
        status_reason=Reason(row["status_reason"]) if row["status_reason"] else None,
        retry_count=row["retry_count"],
        attempts=row["attempts"],
        priority=row["priority"],
        category=row["category"],
        reference=row["reference"],
        scheduled_for=utc(row["scheduled_for"]),
        expires_at=utc(row["expires_at"]),
        created_at=_moment(row["created_at"]),
        due_at=_moment(row["due_at"]),
        sent_at=utc(row["sent_at"]),
        trail=Trail(
            request_id=row["request_id"],
            correlation_id=row["correlation_id"],
            traceparent=row["traceparent"],
        ),
    )


def claim_of(row: RowMapping, *, claimed_at: datetime) -> Claim:
    """One row of `notifications` that is `sending` under the row's epoch."""
    return Claim(
        notification=notification_of(row),
        epoch=row["epoch"],
        attempts_in_budget=row["attempts"] - row["budget_from"],
        claimed_at=claimed_at,
    )


def once_per_claim(settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """Without those that end a claim a second time; in an order in which no two calls wait for each other."""
    claims = {(each.claim.notification.id, each.claim.epoch): each for each in settlements}
    return [claims[claim] for claim in sorted(claims)]


def entry_of(row: RowMapping) -> Entry:
    """One row of `attempts`."""
    return Entry(
        kind=row["kind"],
        outcome=Outcome(row["outcome"]),
        provider=row["provider"],
        started_at=_moment(row["started_at"]),
        finished_at=_moment(row["finished_at"]),
        error_code=row["error_code"],
        detail=row["detail"],
        next_attempt_at=utc(row["next_attempt_at"]),
    )


def dead_letter_of(row: RowMapping) -> DeadLetter:
    """One row of `dead_letters`."""
    return DeadLetter(
        id=DeadLetterId(_uuid(row["id"])),
        notification_id=NotificationId(_uuid(row["notification_id"])) if row["notification_id"] else None,
        user_id=row["user_id"],
        channel=row["channel"],
        reason=Reason(row["reason"]),
        detail=row["detail"],
        attempts=row["attempts"],
        dead_at=_moment(row["dead_at"]),
        redriven_at=utc(row["redriven_at"]),
        redriven_by=row["redriven_by"],
        payload=_object(row["payload"]),
    )


def row_of(notification: Notification) -> dict[str, Any]:
    """The columns of a new notification."""
    return {
        "id": notification.id,
        "user_id": notification.user_id,
        "channel_type": notification.channel_type,
        "channel_data": notification.channel,
        "body": notification.body,
        "metadata": notification.metadata,
        "status": notification.status.value,
        "status_reason": notification.status_reason,
        "priority": notification.priority,
        "category": notification.category,
        "reference": notification.reference,
        "scheduled_for": notification.scheduled_for,
        "expires_at": notification.expires_at,
        "created_at": notification.created_at,
        "due_at": notification.due_at,
        "request_id": notification.trail.request_id,
        "correlation_id": notification.trail.correlation_id,
        "traceparent": notification.trail.traceparent,
    }


def payload_of(notification: Notification) -> dict[str, Any]:
    """What a dead letter keeps of its notification."""
    return {
        "user_id": notification.user_id,
        "channel": notification.channel,
        "body": notification.body,
        "metadata": notification.metadata,
        "reference": notification.reference,
        "category": notification.category,
        "priority": notification.priority,
    }


def dump(value: Any) -> str:
    """JSON text for a `jsonb` column."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def utc(value: datetime | None) -> datetime | None:
    """An aware UTC time from what a driver returns for a time."""
    return None if value is None else _moment(value)


def _moment(value: datetime) -> datetime:
    return value.astimezone(UTC)


def _object(value: Any) -> dict[str, Any]:
    """A JSON object; what else another tool may have written counts as empty."""
    # PostgreSQL's driver hands jsonb over as text when the statement is text; typed columns arrive parsed.
    with suppress(ValueError):
        value = json.loads(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) else {}


def _uuid(value: Any) -> UUID:
    return value if type(value) is UUID else UUID(str(value))
