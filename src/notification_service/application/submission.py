"""One request on its way in: what it asks for, what the limiter said, and how it is answered."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.errors import NotificationServiceError
from notification_service.domain.notification import (
    Draft,
    Notification,
    NotificationId,
    Reason,
    Status,
    Trail,
)
from notification_service.ports import Allowance


class RateLimitedError(NotificationServiceError):
    """too many notifications for this user within an hour; try again later"""

    code = "rate_limited"

    def __init__(self, allowance: Allowance) -> None:
        """Carry the user's standing, for the answer's headers."""
        super().__init__()
        self.allowance = allowance


type Outcome = Notification | RateLimitedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One request: its drafts, and how its caller wants to be answered.

    `render` turns the outcome of each draft, in order, into the answer's bytes; the answer is kept under the
    key with `status_code`.
    """

    drafts: tuple[Draft, ...]
    trail: Trail
    render: Callable[[Sequence[Outcome]], bytes]
    status_code: int
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a submission; `allowance` is the last draft's standing (None on a replay)."""

    answer: bytes
    status_code: int
    replayed: bool = False
    allowance: Allowance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A submission after the limiter has spoken; `answer` shows what is due as `promised`."""

    submission: Submission
    outcomes: tuple[Outcome, ...]
    promised: Status
    answer: bytes
    allowance: Allowance

    @property
    def notifications(self) -> tuple[Notification, ...]:
        """What is to be stored."""
        return tuple(each for each in self.outcomes if isinstance(each, Notification))

    def acceptance(self) -> Acceptance:
        """What the store is given."""
        key = self.submission.key
        return Acceptance(
            notifications=self.notifications, key=key, answer=self.kept(key, self.answer) if key else None
        )

    def kept(self, key: IdempotencyKey, answer: bytes) -> StoredAnswer:
        """The answer in the form in which it is kept under the key."""
        return StoredAnswer(fingerprint=key.fingerprint, status_code=self.submission.status_code, body=answer)

    def rendered(self, queued: Container[NotificationId]) -> bytes:
        """The answer that shows as promised what is queued, and as stored what is not."""
        return self.submission.render(
            [
                shown_as(self.promised, each) if is_due(each) and each.id in queued else each
                for each in self.outcomes
            ]
        )


def is_due(outcome: Outcome) -> TypeGuard[Notification]:
    """Whether it was accepted for now, so that a queue is to have it."""
    return isinstance(outcome, Notification) and outcome.status_reason is not Reason.SCHEDULED


def shown_as(status: Status, outcome: Outcome) -> Outcome:
    """The outcome, shown in that state if it is due."""
    if not is_due(outcome) or outcome.status is status:
        return outcome
    return replace(outcome, status=status)
