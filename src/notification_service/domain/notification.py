"""What a notification is: its states, its history and the values that travel between the rooms."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NewType
from uuid import UUID

from notification_service.domain.channels import AnyChannel, ChannelType, stored_channel

NotificationId = NewType("NotificationId", UUID)
DeadLetterId = NewType("DeadLetterId", UUID)

DEFAULT_PRIORITY = 5
LOWEST_PRIORITY, HIGHEST_PRIORITY = 1, 10


class Status(StrEnum):
    """Where a notification is in its life."""

    PENDING = "pending"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"


WAITING = frozenset({Status.PENDING, Status.QUEUED})
"""What a worker may claim and a caller may cancel."""

FINAL = frozenset(
    {Status.SENT, Status.DELIVERED, Status.FAILED, Status.CANCELLED, Status.SUPPRESSED, Status.EXPIRED}
)
"""States that nothing but a provider's confirmation or a person's retry changes."""


class Reason(StrEnum):
    """Why a notification is in its state, where there is something to say."""

    RETRY_SCHEDULED = "retry_scheduled"
    SCHEDULED = "scheduled"
    QUIET_HOURS = "quiet_hours"
    DIGEST = "digest"
    RATE_LIMITED = "rate_limited"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED_ADDRESS = "suppressed_address"
    NO_ADDRESS = "no_address"
    EXPIRED = "expired"
    PROVIDER_REJECTED = "provider_rejected"
    RETRIES_EXHAUSTED = "retries_exhausted"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    CANCELLED_BY_USER = "cancelled_by_user"
    LEASE_EXPIRED = "lease_expired"
    AMBIGUOUS = "ambiguous"
    UNREADABLE = "unreadable"
    UNKNOWN_TEMPLATE = "unknown_template"


class Outcome(StrEnum):
    """How an attempt ended, or what was decided instead of an attempt."""

    DELIVERED = "delivered"
    TRANSIENT_ERROR = "transient_error"
    PERMANENT_ERROR = "permanent_error"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"
    HELD = "held"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REDRIVEN = "redriven"


type EntryKind = Literal["attempt", "decision"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller wants sent: validated, in no profile's own form, not yet stored."""

    user_id: str
    channel: dict[str, Any]
    body: str
    metadata: dict[str, Any] = field(default_factory=dict)
    scheduled_for: datetime | None = None
    expires_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    category: str | None = None
    reference: str | None = None

    @property
    def channel_type(self) -> ChannelType:
        """The type's name, as it is stored and counted."""
        return self.channel["type"]  # type: ignore[no-any-return]  # validated when it was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What ties a notification to the call that made it, from HTTP through the queue to the provider."""

    request_id: str
    correlation_id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One stored notification."""

    id: NotificationId
    user_id: str
    channel: dict[str, Any]
    body: str
    metadata: dict[str, Any]
    status: Status
    status_reason: Reason | None
    retry_count: int
    attempts: int
    priority: int
    category: str | None
    reference: str | None
    scheduled_for: datetime | None
    expires_at: datetime | None
    created_at: datetime
    due_at: datetime
    sent_at: datetime | None
    trail: Trail

    @property
    def channel_type(self) -> ChannelType:
        """The type's name, as it is stored and counted."""
        return self.channel["type"]  # type: ignore[no-any-return]  # validated when it was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One notification as a provider sees it; the id is the same on every attempt."""

    notification_id: NotificationId
    user_id: str
    channel: AnyChannel
    body: str
    metadata: dict[str, Any]
    reference: str | None
    created_at: datetime
    attempt: int
    trail: Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReceipt:
    """The provider took the message; `confirmed` when it also vouches for the arrival."""

    reference: str | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to send one notification until its lease runs out; `epoch` names this very claim."""

    notification: Notification
    epoch: int
    attempts_in_budget: int
    """Attempts already made since the budget was last granted; 0 for a first attempt."""
    claimed_at: datetime
    """By the database's clock."""

    @property
    def attempt(self) -> int:
        """The number of the attempt this claim allows, from 1."""
        return self.notification.attempts + 1

    def message(self) -> Message:
        """What the provider is handed."""
        return Message(
            notification_id=self.notification.id,
            user_id=self.notification.user_id,
            channel=stored_channel(self.notification.channel),
            body=self.notification.body,
            metadata=self.notification.metadata,
            reference=self.notification.reference,
            created_at=self.notification.created_at,
            attempt=self.attempt,
            trail=self.notification.trail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a notification's history: an attempt, or a decision that made none."""

    kind: EntryKind
    outcome: Outcome
    provider: str | None = None
    started_at: datetime
    finished_at: datetime
    error_code: str | None = None
    detail: str | None = None
    next_attempt_at: datetime | None = None

    @property
    def duration(self) -> timedelta:
        """How long the attempt took."""
        return self.finished_at - self.started_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a claim led to. It takes effect only while the claim's epoch still holds the notification."""

    claim: Claim
    status: Status
    reason: Reason | None
    entry: Entry
    delay: timedelta | None = None
    """How long until it is due again, counted from the database's now; None leaves `due_at` alone."""
    dead_letter: bool = False
    claim_is_lost: bool = False
    """The lease ran out and nobody knows the ending: this ends the epoch, so that what its worker may still
    report counts as late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What could not be delivered, kept with its reason until somebody redrives it."""

    id: DeadLetterId
    notification_id: NotificationId | None
    user_id: str | None
    channel: ChannelType | None
    reason: Reason
    detail: str | None
    attempts: int
    dead_at: datetime
    redriven_at: datetime | None
    redriven_by: str | None
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page[Row]:
    """Some rows, newest first, and whether there are more."""

    rows: tuple[Row, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much work there is."""

    pending: int
    queued: int
    sending: int
    dead_letters: int
    oldest_due: timedelta
    """How long the longest waiting due notification has been due; zero when none is."""
