"""What a message looks like in RabbitMQ, and what is read from one."""

from copy import copy
from dataclasses import dataclass
from hashlib import sha256

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from notification_service.domain.events import (
    QUEUED,
    Buried,
    Letter,
    UnreadableEventError,
    read_event,
    write_event,
)
from notification_service.domain.notification import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    Notification,
    NotificationId,
)
from notification_service.domain.status_events import StatusEvent, write_status_event

JSON = "application/json"
PERSISTENT = 2
NOT_COPIED = ("CC", "BCC", "x-delivery-count")
"""Headers by which RabbitMQ would put a copy into further queues, and its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message on its way to an exchange."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Basic.Properties
    mandatory: bool = True
    """Whether it is an error when no queue takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message as a worker sees it."""

    tag: int
    priority: int
    content: NotificationId | Letter


def event(notification: Notification, *, exchange: str, routing_key: str) -> Outgoing:
    """Return the message that announces due work."""
    trail = notification.trail
    properties = Basic.Properties(
        content_type=JSON,
        delivery_mode=PERSISTENT,
        headers={
            **_trail(trail.correlation_id, trail.traceparent),
            "priority": str(notification.priority),
        },
        priority=notification.priority,
        correlation_id=trail.correlation_id,
        message_id=str(notification.id),
        message_type=QUEUED,
    )
    return Outgoing(
        exchange=exchange, routing_key=routing_key, body=write_event(notification), properties=properties
    )


def burial(dead: Buried, *, exchange: str) -> Outgoing:
    """Return the message that shows a dead letter."""
    properties = Basic.Properties(
        content_type=JSON,
        delivery_mode=PERSISTENT,
        headers={**_trail(dead.correlation_id, dead.traceparent), "dlq-reason": str(dead.reason)},
        correlation_id=dead.correlation_id,
    )
    return Outgoing(exchange=exchange, routing_key="", body=dead.body, properties=properties)


def announcement(event: StatusEvent, *, exchange: str) -> Outgoing:
    """Return the message that tells other systems what became of a notification, if any listens."""
    properties = Basic.Properties(
        content_type=JSON,
        delivery_mode=PERSISTENT,
        headers={**_trail(event.correlation_id, event.traceparent)},
        correlation_id=event.correlation_id,
        message_id=str(event.sequence),
        message_type=event.event_type,
    )
    return Outgoing(
        exchange=exchange,
        routing_key=event.event_type,
        body=write_status_event(event),
        properties=properties,
        mandatory=False,
    )


def named_copy(message: DeliveredMessage, *, queue: str, name: str) -> Outgoing:
    """Return the same message with an identity; without what RabbitMQ would refuse or spread."""
    properties = copy(message.header.properties)
    properties.message_id = name
    properties.delivery_mode = PERSISTENT
    properties.user_id = None
    properties.headers = {
        key: value for key, value in (properties.headers or {}).items() if key not in NOT_COPIED
    }
    return Outgoing(exchange="", routing_key=queue, body=message.body, properties=properties)


def read_arrival(message: DeliveredMessage, queue: str) -> Arrival:
    """Read whatever lay in a queue; never raises."""
    return Arrival(
        tag=message.delivery_tag or 0, priority=_priority(message), content=_content(message, queue)
    )


def is_nameless(arrival: Arrival, message: DeliveredMessage) -> bool:
    """Whether nothing tells this letter from another one like it."""
    return isinstance(arrival.content, Letter) and not message.header.properties.message_id


def _content(message: DeliveredMessage, queue: str) -> NotificationId | Letter:
    try:
        return read_event(message.body).notification_id
    except UnreadableEventError:
        return Letter(
            name=_name(message, queue),
            source=queue,
            body=message.body,
            correlation_id=message.header.properties.correlation_id or _header(message, "correlation-id"),
            traceparent=_header(message, "traceparent"),
        )


def _name(message: DeliveredMessage, queue: str) -> str:
    """Made from the identity that a message has, or for want of one from all that it has."""
    properties = message.header.properties
    identity = properties.message_id or f"{properties.timestamp} {properties.correlation_id}"
    return sha256(b"\0".join((queue.encode(), identity.encode(), message.body))).hexdigest()


def _priority(message: DeliveredMessage) -> int:
    told = message.header.properties.priority
    return told if told and LOWEST_PRIORITY <= told <= HIGHEST_PRIORITY else DEFAULT_PRIORITY


def _header(message: DeliveredMessage, name: str) -> str | None:
    value = (message.header.properties.headers or {}).get(name)
    return value if isinstance(value, str) else None


def _trail(correlation_id: str | None, traceparent: str | None) -> dict[str, str]:
    headers = {"correlation-id": correlation_id, "traceparent": traceparent}
    return {name: value for name, value in headers.items() if value}
