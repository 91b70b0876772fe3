"""Takes notifications in: each is stored, with its idempotency key, before anybody hears «accepted»."""

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import structlog

from notification_service.application.batcher import Batcher
from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import (
    ChannelNotConfiguredError,
    IdempotencyKeyReusedError,
    NotificationServiceError,
    OverloadedError,
    RequestInProgressError,
    UnavailableError,
)
from notification_service.domain.notification import (
    Draft,
    Notification,
    NotificationId,
    Reason,
    Status,
    Trail,
)
from notification_service.observability.metrics import Metrics
from notification_service.ports import Allowance, Broker, Limiter, NotificationStore

PUBLISH_PATIENCE = timedelta(seconds=1)
LARGEST_BATCH = 500
WAITING_REQUESTS = 5_000
FLUSH_PATIENCE = timedelta(seconds=10)


log = structlog.get_logger(__name__)


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
class _Admission:
    """A submission after the limiter has spoken."""

    submission: Submission
    notifications: tuple[Notification, ...]
    answer: bytes
    allowance: Allowance

    def acceptance(self) -> Acceptance:
        key = self.submission.key
        if not key:
            return Acceptance(notifications=self.notifications)
        answer = StoredAnswer(
            fingerprint=key.fingerprint, status_code=self.submission.status_code, body=self.answer
        )
        return Acceptance(notifications=self.notifications, key=key, answer=answer)


class Accept:
    """The use case behind every POST that creates notifications, in any profile."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        limiter: Limiter,
        broker: Broker,
        metrics: Metrics,
        new_id: Callable[[], NotificationId],
        channels: frozenset[ChannelType],
        keep_answers: timedelta,
    ) -> None:
        """Accept notifications for `channels`; answers to requests with a key are kept for `keep_answers`."""
        self._store = store
        self._limiter = limiter
        self._broker = broker
        self._metrics = metrics
        self._new_id = new_id
        self._channels = channels
        self._keep_answers = keep_answers
        self._batcher: Batcher[Submission, Accepted] = Batcher(
            self.flush, largest=LARGEST_BATCH, capacity=WAITING_REQUESTS, patience=FLUSH_PATIENCE
        )

    async def __aenter__(self) -> Self:
        """Take submissions until the block ends."""
        return self

    async def __aexit__(self, *details: object) -> None:
        """Finish every submission that was taken."""
        await self._batcher.__aexit__(*details)

    def now(self) -> datetime:
        """The database's time, to judge a draft's times by."""
        return self._store.now()

    def require_channel(self, channel: ChannelType) -> None:
        """Raise `ChannelNotConfiguredError` unless a provider stands ready for the channel."""
        if channel not in self._channels:
            raise ChannelNotConfiguredError(
                f"no provider is configured for {channel}; set NS_{channel.upper()}_PROVIDERS"
            )

    async def __call__(self, submission: Submission) -> Accepted:
        """Store the submission and return its answer after the commit, or the answer kept under its key.

        A submission of many is a transaction of its own; single ones share theirs. Raises `RateLimitedError`
        when its only draft was refused, `IdempotencyKeyReusedError`, or an `UnavailableError` (then nobody
        knows whether it was stored: repeat it with its key).
        """
        if len(submission.drafts) == 1:
            return await self._batcher.submit(submission)
        try:
            async with asyncio.timeout(FLUSH_PATIENCE.total_seconds()):
                [result] = await self.flush([submission])
        except TimeoutError:
            raise OverloadedError from None
        if isinstance(result, Exception):
            raise result
        return result

    async def recall(self, key: IdempotencyKey | None) -> Accepted | None:
        """Return the answer kept under the key; None when there is none.

        For a repeat that would be refused today and was accepted when it came first: its `expires_at` passed.
        """
        [kept] = await self._kept_answers([key])
        if isinstance(kept, Exception):
            raise kept
        return kept

    async def flush(self, submissions: Sequence[Submission]) -> Sequence[Accepted | Exception]:
        """Accept many submissions with one question to the limiter, one transaction and one publication.

        Submissions with the same key are taken one after the other, so that the later ones find the answer.
        """
        kept = await self._kept_answers([each.key for each in submissions])
        results = {at: answer for at, answer in enumerate(kept) if answer}
        firsts, repeats = _first_of_each_key(submissions, without=results)
        results |= zip(firsts, await self._accept([submissions[at] for at in firsts]), strict=True)
        if repeats:
            later = await self.flush([submissions[at] for at in repeats])
            results |= zip(repeats, later, strict=True)
        return [results[at] for at in range(len(submissions))]

    async def _accept(self, submissions: Sequence[Submission]) -> Sequence[Accepted | Exception]:
        if not submissions:
            return ()
        self._metrics.accept_batch(len(submissions))
        try:
            admitted = await self._admit(submissions)
        except UnavailableError as error:  # of the limiter: an answer that was kept needs none
            return [error] * len(submissions)
        stored = iter(await self._keep([each for each in admitted if isinstance(each, _Admission)]))
        results = [next(stored) if isinstance(each, _Admission) else each for each in admitted]
        return await self._reconsidered(submissions, results)

    async def _reconsidered(
        self, submissions: Sequence[Submission], results: Sequence[Accepted | Exception]
    ) -> Sequence[Accepted | Exception]:
        """A twin elsewhere may have been stored since we looked: its answer goes before a refusal."""
        keys = [
            submission.key if isinstance(result, RateLimitedError) else None
            for submission, result in zip(submissions, results, strict=True)
        ]
        kept = await self._kept_answers(keys)
        return [answer or result for answer, result in zip(kept, results, strict=True)]

    async def _kept_answers(
        self, keys: Sequence[IdempotencyKey | None]
    ) -> Sequence[Accepted | Exception | None]:
        asked = [key for key in keys if key]
        kept = iter(await self._store.find_answers(asked) if asked else ())
        return [self._replay(key, next(kept)) if key else None for key in keys]

    def _replay(self, key: IdempotencyKey, answer: StoredAnswer | None) -> Accepted | Exception | None:
        if answer is None:
            return None
        if answer.fingerprint != key.fingerprint:
            return IdempotencyKeyReusedError()
        self._metrics.replayed()
        return Accepted(answer=answer.body, status_code=answer.status_code, replayed=True)

    async def _admit(self, submissions: Sequence[Submission]) -> Sequence[_Admission | Exception]:
        users = [draft.user_id for submission in submissions for draft in submission.drafts]
        allowances = iter(await self._limiter.allow_many(users) if users else ())
        now = self._store.now()
        return [await self._judge(submission, allowances, now) for submission in submissions]

    async def _judge(
        self, submission: Submission, allowances: Iterator[Allowance], now: datetime
    ) -> _Admission | Exception:
        asked = [next(allowances) for _ in submission.drafts]
        outcomes = [
            self._notification(draft, submission.trail, now)
            if allowance.allowed
            else self._refusal(allowance)
            for draft, allowance in zip(submission.drafts, asked, strict=True)
        ]
        notifications = tuple(each for each in outcomes if isinstance(each, Notification))
        if not notifications and len(outcomes) == 1:
            return RateLimitedError(asked[-1])
        try:
            answer = submission.render(outcomes)
        except Exception as error:  # before anything is stored, and nobody else's fault
            await self._give_back(notifications)
            return error
        return _Admission(
            submission=submission, notifications=notifications, answer=answer, allowance=asked[-1]
        )

    def _refusal(self, allowance: Allowance) -> RateLimitedError:
        self._metrics.rate_limited()
        return RateLimitedError(allowance)

    def _notification(self, draft: Draft, trail: Trail, now: datetime) -> Notification:
        due_at = max(draft.scheduled_for or now, now)
        waits = due_at > now
        return Notification(
            id=self._new_id(),
            user_id=draft.user_id,
            channel=draft.channel,
            body=draft.body,
            metadata=draft.metadata,
            status=Status.PENDING if waits else self._broker.accepts_as,
            status_reason=Reason.SCHEDULED if waits else None,
            retry_count=0,
            attempts=0,
            priority=draft.priority,
            category=draft.category,
            reference=draft.reference,
            scheduled_for=draft.scheduled_for,
            expires_at=draft.expires_at,
            created_at=now,
            due_at=due_at,
            sent_at=None,
            trail=trail,
        )

    async def _keep(self, admissions: Sequence[_Admission]) -> Sequence[Accepted | Exception]:
        storable = [admission for admission in admissions if admission.notifications]
        taken = await self._add(storable) if storable else ()
        kept = {id(admission): answer for admission, answer in zip(storable, taken, strict=True)}
        return [self._result(admission, kept.get(id(admission))) for admission in admissions]

    async def _add(self, admissions: Sequence[_Admission]) -> Sequence[StoredAnswer | None]:
        acceptances = [admission.acceptance() for admission in admissions]
        try:
            taken = await self._store.add_many(acceptances, keep_answers=self._keep_answers)
        except BaseException:
            await self._give_back(one for each in acceptances for one in each.notifications)
            raise
        results = list(zip(acceptances, taken, strict=True))
        await self._give_back(one for each, answer in results if answer for one in each.notifications)
        await self._publish([one for each, answer in results if not answer for one in each.notifications])
        return taken

    async def _give_back(self, notifications: Iterable[Notification]) -> None:
        users = [each.user_id for each in notifications]
        if users:
            # A limiter that fails now has counted one too many, which its window forgets; nothing is lost.
            with suppress(UnavailableError):
                await self._limiter.give_back_many(users)

    async def _publish(self, stored: Sequence[Notification]) -> None:
        for notification in stored:
            self._metrics.accepted(notification.channel_type)
        due = [each for each in stored if each.status_reason is not Reason.SCHEDULED]
        try:
            async with asyncio.timeout(PUBLISH_PATIENCE.total_seconds()):
                await self._broker.publish(due)
        except Exception as error:
            # Stored is accepted: what isn't in the queue now is found in the store later.
            for each in due:
                log.warning(
                    "queue_failed",
                    notification_id=str(each.id),
                    correlation_id=each.trail.correlation_id,
                    error=type(error).__name__,
                )

    def _result(self, admission: _Admission, kept: StoredAnswer | None) -> Accepted | Exception:
        if kept and admission.submission.key:
            return self._replay(admission.submission.key, kept) or RequestInProgressError()
        return Accepted(
            answer=admission.answer,
            status_code=admission.submission.status_code,
            allowance=admission.allowance,
        )


def _first_of_each_key(
    submissions: Sequence[Submission], *, without: Container[int]
) -> tuple[list[int], list[int]]:
    seen: set[tuple[str, str]] = set()
    firsts: list[int] = []
    repeats: list[int] = []
    for at, submission in enumerate(submissions):
        if at in without:
            continue
        name = (submission.key.caller, submission.key.key) if submission.key else None
        (repeats if name in seen else firsts).append(at)
        if name:
            seen.add(name)
    return firsts, repeats
