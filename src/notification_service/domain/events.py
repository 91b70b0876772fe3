"""What travels through a broker: our own event, and what other producers put into our queues."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from notification_service.domain.channels import CHANNEL_TYPES, ChannelType
from notification_service.domain.notification import Notification, NotificationId, Reason

VERSION = 1
QUEUED = "notification.queued"
LARGEST_PARKED_BYTES = 65_536
"""How much of a message is kept when it is parked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The part of our own event that a worker needs: which notification is to be claimed."""

    notification_id: NotificationId
    channel: ChannelType


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message that isn't our own event: another producer's, or one that nobody can read.

    `name` is the same each time the broker hands out this very message, and no other message's.
    """

    name: str
    source: str
    """The queue or topic it lay in."""
    body: bytes
    key: bytes | None = None
    correlation_id: str | None = None
    traceparent: str | None = None

    @property
    def identity(self) -> str:
        """The name as any store keeps it: 64 visible ASCII characters, whatever another producer chose."""
        return hashlib.sha256(self.name.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried:
    """What the broker's own dead-letter queue is to show: the message as it was, and why it is there."""

    reason: Reason
    body: bytes
    key: bytes | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedLetter:
    """A letter that is kept as a dead letter because nothing can be made of it."""

    letter: Letter
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What a broker handed out: these notifications (`ids` None: whatever is due), and foreign messages."""

    ids: tuple[NotificationId, ...] | None = None
    letters: tuple[Letter, ...] = ()


class UnreadableEventError(ValueError):
    """the message is no event of ours"""


def write_event(notification: Notification) -> bytes:
    """Return the versioned event that announces due work."""
    return json.dumps(
        {
            "version": VERSION,
            "event_type": QUEUED,
            "notification_id": str(notification.id),
            "user_id": notification.user_id,
            "channel": notification.channel_type,
            "body": notification.body,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def read_event(body: bytes) -> Event:
    """Read our own event; raises `UnreadableEventError` for everything else, whatever it holds."""
    event = read_object(body)
    if event.get("version") != VERSION or event.get("event_type") != QUEUED:
        raise UnreadableEventError("the message is no event of this version")
    channel = event.get("channel")
    if channel not in CHANNEL_TYPES:
        raise UnreadableEventError("the event names no channel")
    try:
        notification_id = UUID(event["notification_id"])
    except (KeyError, ValueError, AttributeError, TypeError):
        raise UnreadableEventError("the event names no notification") from None
    return Event(notification_id=NotificationId(notification_id), channel=channel)


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raises `UnreadableEventError` for everything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableEventError("the message is not JSON") from None
    if not isinstance(value, dict):
        raise UnreadableEventError("the message is no JSON object")
    return value


def buried(notification: Notification, reason: Reason) -> Buried:
    """What the broker's dead-letter queue shows of a notification that failed for good."""
    return Buried(
        reason=reason,
        body=write_event(notification),
        key=notification.user_id.encode(),
        correlation_id=notification.trail.correlation_id,
        traceparent=notification.trail.traceparent,
    )
