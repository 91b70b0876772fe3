"""Messages to send in tests."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from notification_service.domain.channels import AnyChannel, EmailChannel
from notification_service.domain.notification import Message, NotificationId, Trail

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
BODY = "Your parcel waits at the corner shop, code 4711-0815."
SECRET = "whsec_" + "c2VjcmV0LXRoYXQtbm9ib2R5LXNob3VsZC1zZWU="


def now() -> datetime:
    return NOW


def email(to: str = "ann@example.com", subject: str = "A parcel for you") -> EmailChannel:
    return EmailChannel.model_construct(to=to, subject=subject)


def message(
    channel: AnyChannel,
    *,
    body: str = BODY,
    attempt: int = 1,
    notification_id: UUID | None = None,
    metadata: dict[str, Any] | None = None,
    trail: Trail | None = None,
) -> Message:
    return Message(
        notification_id=NotificationId(notification_id or uuid4()),
        user_id="user-4242",
        channel=channel,
        body=body,
        metadata=metadata or {},
        reference="order-7",
        created_at=NOW,
        attempt=attempt,
        trail=trail or Trail(request_id="request-1", correlation_id="correlation-1"),
    )
