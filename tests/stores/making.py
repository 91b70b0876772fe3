"""Notifications, keys and settlements as tests need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from notification_service.domain.acceptance import IdempotencyKey
from notification_service.domain.notification import (
    Claim,
    Entry,
    Notification,
    NotificationId,
    Outcome,
    Reason,
    Settlement,
    Status,
    Trail,
)

EMAIL = {"type": "email", "to": "ann@example.com", "subject": "Hello"}
CHANNELS: dict[str, dict[str, Any]] = {
    "email": EMAIL,
    "sms": {"type": "sms", "phone_number": "+4915112345678"},
    "push": {"type": "push", "device_token": "token", "title": "Hello"},
    "webhook": {"type": "webhook", "url": "https://example.com/hook"},
}
A_SECOND = timedelta(seconds=1)


def new_id() -> NotificationId:
    return NotificationId(UUID(str(uuid7())))


def a_notification(
    *, now: datetime | None = None, channel_type: str = "email", **changes: Any
) -> Notification:
    """One that has been due for a second."""
    moment = (now or datetime.now(UTC)) - A_SECOND
    made = Notification(
        id=new_id(),
        user_id="ann",
        channel=CHANNELS[channel_type],
        body="Your parcel is here.",
        metadata={},
        status=Status.QUEUED,
        status_reason=None,
        retry_count=0,
        attempts=0,
        priority=5,
        category=None,
        reference=None,
        scheduled_for=None,
        expires_at=None,
        created_at=moment,
        due_at=moment,
        sent_at=None,
        trail=Trail(request_id="request-1", correlation_id="correlation-1"),
    )
    return replace(made, **changes)


def a_key(key: str = "key-1", *, caller: str = "ann", fingerprint: bytes = b"same") -> IdempotencyKey:
    return IdempotencyKey(caller=caller, key=key, fingerprint=fingerprint)


def settlement(
    claim: Claim,
    status: Status,
    outcome: Outcome,
    *,
    reason: Reason | None = None,
    delay: timedelta | None = None,
    claim_is_lost: bool = False,
    **entry: Any,
) -> Settlement:
    made = Entry(
        kind="attempt",
        outcome=outcome,
        provider="simulated",
        started_at=claim.claimed_at,
        finished_at=claim.claimed_at + timedelta(milliseconds=20),
    )
    return Settlement(
        claim=claim,
        status=status,
        reason=reason,
        entry=replace(made, **entry),
        delay=delay,
        dead_letter=status is Status.FAILED,
        claim_is_lost=claim_is_lost,
    )


def sent(claim: Claim, **entry: Any) -> Settlement:
    """The provider took it."""
    return settlement(claim, Status.SENT, Outcome.DELIVERED, **entry)


def delivered(claim: Claim) -> Settlement:
    """The provider took it and vouches for the arrival."""
    return settlement(claim, Status.DELIVERED, Outcome.DELIVERED)


def again(claim: Claim, *, delay: timedelta = timedelta()) -> Settlement:
    """Refused for now."""
    return settlement(
        claim,
        Status.PENDING,
        Outcome.TRANSIENT_ERROR,
        reason=Reason.RETRY_SCHEDULED,
        delay=delay,
        error_code="http_503",
        detail="busy",
    )


def dead(claim: Claim, *, reason: Reason = Reason.PROVIDER_REJECTED) -> Settlement:
    """Refused for good."""
    return settlement(
        claim,
        Status.FAILED,
        Outcome.PERMANENT_ERROR,
        reason=reason,
        error_code="http_400",
        detail="no such mailbox",
    )


def lost(claim: Claim) -> Settlement:
    """What the sweeper makes of a lease that has run out."""
    return settlement(
        claim,
        Status.PENDING,
        Outcome.UNKNOWN,
        reason=Reason.LEASE_EXPIRED,
        delay=timedelta(),
        claim_is_lost=True,
        provider=None,
        error_code="lease_expired",
    )


def lost_for_good(claim: Claim) -> Settlement:
    """What the sweeper makes of it when the budget is used up."""
    return replace(
        lost(claim), status=Status.FAILED, reason=Reason.RETRIES_EXHAUSTED, delay=None, dead_letter=True
    )


def held(claim: Claim) -> Settlement:
    """A decision that made no attempt."""
    return settlement(
        claim,
        Status.PENDING,
        Outcome.HELD,
        reason=Reason.QUIET_HOURS,
        delay=timedelta(hours=1),
        kind="decision",
        provider=None,
    )
