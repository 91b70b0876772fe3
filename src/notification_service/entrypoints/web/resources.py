"""What the page's scripts are given beyond the resources of the API."""

from typing import Any

from notification_service.domain.mailbox import MailboxMessage
from notification_service.domain.notification import Status

LONGEST_PREVIEW = 160


def summary(message: MailboxMessage, status: Status | None) -> dict[str, Any]:
    """Return a line of the list."""
    return {
        "id": message.id,
        "channel": message.channel,
        "to": message.to,
        "subject": message.subject,
        "preview": " ".join(message.text[: 2 * LONGEST_PREVIEW].split())[:LONGEST_PREVIEW],
        "status": status,
        "received_at": message.received_at,
    }
