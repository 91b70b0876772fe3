"""What follows from the ending of an attempt: sent, tried again later, or dead."""

from dataclasses import dataclass
from datetime import timedelta

from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
)
from notification_service.domain.notification import Outcome, Reason, Status

JITTER = 0.2
LONGEST_RETRY_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a channel is tried, how long between attempts, and what an unknown ending means."""

    max_retries: int
    schedule: tuple[timedelta, ...]
    hold_ambiguous: bool = False

    def delay(self, attempts: int, *, jitter: float, retry_after: timedelta | None = None) -> timedelta:
        """Return the wait after the attempt numbered `attempts` (from 1).

        `jitter` is a random number in [0, 1) that moves the wait by at most 20 % either way; the wait is
        never shorter than the provider's own `retry_after`, up to a day.
        """
        planned = self.schedule[min(attempts, len(self.schedule)) - 1]
        wait = planned * (1 + JITTER * (2 * jitter - 1))
        return max(wait, min(retry_after or timedelta(), LONGEST_RETRY_AFTER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The state that follows, when it is due again, and whether it is a dead letter."""

    status: Status
    outcome: Outcome
    reason: Reason | None = None
    delay: timedelta | None = None

    @property
    def is_dead(self) -> bool:
        """Whether the notification is parked until somebody redrives it."""
        return self.status is Status.FAILED


def judge(
    error: DeliveryError | None, *, attempts: int, policy: RetryPolicy, jitter: float, confirmed: bool = False
) -> Verdict:
    """Decide what an attempt's ending means.

    `error` is None when the provider took the message (`confirmed`: it also vouches for the arrival);
    `attempts` counts the attempts of the present budget, this one included.
    """
    if error is None:
        return Verdict(status=Status.DELIVERED if confirmed else Status.SENT, outcome=Outcome.DELIVERED)
    outcome = outcome_of(error)
    if outcome is Outcome.PERMANENT_ERROR:
        return Verdict(status=Status.FAILED, outcome=outcome, reason=Reason.PROVIDER_REJECTED)
    if outcome is Outcome.AMBIGUOUS and policy.hold_ambiguous:
        return Verdict(status=Status.FAILED, outcome=Outcome.AMBIGUOUS, reason=Reason.AMBIGUOUS)
    return _again(outcome, attempts, policy, jitter, error.retry_after)


def judge_lost(*, attempts: int, policy: RetryPolicy) -> Verdict:
    """Decide what follows when a lease ran out and nobody knows how the attempt ended."""
    if policy.hold_ambiguous:
        return Verdict(status=Status.FAILED, outcome=Outcome.UNKNOWN, reason=Reason.AMBIGUOUS)
    if attempts > policy.max_retries:
        return Verdict(status=Status.FAILED, outcome=Outcome.UNKNOWN, reason=Reason.RETRIES_EXHAUSTED)
    return Verdict(
        status=Status.PENDING, outcome=Outcome.UNKNOWN, reason=Reason.LEASE_EXPIRED, delay=timedelta()
    )


def outcome_of(error: DeliveryError) -> Outcome:
    """Name an error as it is written into the history."""
    match error:
        case PermanentDeliveryError():
            return Outcome.PERMANENT_ERROR
        case AmbiguousDeliveryError():
            return Outcome.AMBIGUOUS
        case _:
            return Outcome.TRANSIENT_ERROR


def _again(
    outcome: Outcome, attempts: int, policy: RetryPolicy, jitter: float, retry_after: timedelta | None
) -> Verdict:
    if attempts > policy.max_retries:
        return Verdict(status=Status.FAILED, outcome=outcome, reason=Reason.RETRIES_EXHAUSTED)
    delay = policy.delay(attempts, jitter=jitter, retry_after=retry_after)
    return Verdict(status=Status.PENDING, outcome=outcome, reason=Reason.RETRY_SCHEDULED, delay=delay)
