"""What other systems are told of a notification: that it was sent, failed, is tried again, and so on."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import NotificationId, Reason, Status

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """One transition of one notification."""

    sequence: int
    """Of two events of one notification the later one has the higher number; of others it says little."""
    event_type: str
    """`notification.` and the status, or `notification.retry_scheduled`."""
    notification_id: NotificationId
    user_id: str
    channel: ChannelType
    status: Status
    status_reason: Reason | None
    retry_count: int
    reference: str | None
    occurred_at: datetime
    """By the database's clock."""
    correlation_id: str
    traceparent: str | None


def write_status_event(event: StatusEvent) -> bytes:
    """Return the versioned message; neither a body nor an address is in it."""
    return json.dumps(
        {
            "version": VERSION,
            "event_type": event.event_type,
            "sequence": event.sequence,
            "notification_id": str(event.notification_id),
            "user_id": event.user_id,
            "channel": event.channel,
            "status": event.status,
            "status_reason": event.status_reason,
            "retry_count": event.retry_count,
            "reference": event.reference,
            "occurred_at": event.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
