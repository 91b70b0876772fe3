"""Takes notifications in: each is stored, with its idempotency key, before anybody hears «accepted»."""

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import structlog

from notification_service.application.batcher import Batcher
from notification_service.application.publish import Publisher
from notification_service.application.submission import (
    Accepted,
    Admission,
    RateLimitedError,
    Submission,
    is_due,
    shown_as,
)
from notification_service.application.twins import Twins
from notification_service.domain.acceptance import IdempotencyKey, StoredAnswer
from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import (
    ChannelNotConfiguredError,
    IdempotencyKeyReusedError,
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
from notification_service.ports import Allowance, Limiter, NotificationStore

LARGEST_BATCH = 500
WAITING_REQUESTS = 5_000
FLUSH_PATIENCE = timedelta(seconds=10)
CORRECTION_PATIENCE = timedelta(seconds=1)
TWIN_PAUSES = (0.0, 0.05, 0.15, 0.3)
"""Seconds between looks for the answer of a twin that another process may be storing right now."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored and being published: its answer may still change."""

    admission: Admission
    publication: asyncio.Task[Mapping[int, bytes]]
    """Ends with the answers that had to change, by the identity of their admission."""

    async def accepted(self) -> Accepted:
        corrected = await asyncio.shield(self.publication)
        return Accepted(
            answer=corrected.get(id(self.admission), self.admission.answer),
            status_code=self.admission.submission.status_code,
            allowance=self.admission.allowance,
        )


type _Result = Accepted | _Stored | Exception


class Accept:
    """The use case behind every POST that creates notifications, in any profile."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        limiter: Limiter,
        publisher: Publisher,
        metrics: Metrics,
        new_id: Callable[[], NotificationId],
        channels: frozenset[ChannelType],
        keep_answers: timedelta,
    ) -> None:
        """Accept notifications for `channels`; answers to requests with a key are kept for `keep_answers`."""
        self._store = store
        self._limiter = limiter
        self._publisher = publisher
        self._metrics = metrics
        self._new_id = new_id
        self._channels = channels
        self._keep_answers = keep_answers
        self._twins = Twins()
        self._publications = set[asyncio.Task[Mapping[int, bytes]]]()
        self._batcher: Batcher[Submission, Accepted | _Stored] = Batcher(
            self._flush, largest=LARGEST_BATCH, capacity=WAITING_REQUESTS, patience=FLUSH_PATIENCE
        )

    async def __aenter__(self) -> Self:
        """Take submissions until the block ends."""
        return self

    async def __aexit__(self, *details: object) -> None:
        """Finish every submission that was taken."""
        await self._batcher.__aexit__(*details)
        if self._publications:
            await asyncio.wait(self._publications)

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
        if submission.key is None:
            return await _told(await self._batched(submission))
        async with self._twins.after_the_first(submission.key):
            return await self._once(submission, submission.key)

    async def _once(self, submission: Submission, key: IdempotencyKey) -> Accepted:
        """A refusal stands only when no twin at another process was stored meanwhile."""
        try:
            result = await self._batched(submission)
        except RateLimitedError:
            if kept := await self._stored_elsewhere(key):
                return kept
            raise
        if isinstance(result, _Stored) and not result.admission.notifications:
            return await self._stored_elsewhere(key) or await _told(result)
        return await _told(result)

    async def _stored_elsewhere(self, key: IdempotencyKey) -> Accepted | None:
        for pause in TWIN_PAUSES:
            await asyncio.sleep(pause)
            if kept := await self._kept(key):
                return kept
        return None

    async def _batched(self, submission: Submission) -> Accepted | _Stored:
        if len(submission.drafts) == 1:
            return await self._batcher.submit(submission)
        try:
            async with asyncio.timeout(FLUSH_PATIENCE.total_seconds()):
                [result] = await self._flush([submission])
        except TimeoutError:
            raise OverloadedError from None
        if isinstance(result, Exception):
            raise result
        return result

    async def recall(self, key: IdempotencyKey | None) -> Accepted | None:
        """Return the answer kept under the key; None when there is none.

        For a repeat that would be refused today and was accepted when it came first: its `expires_at` passed.
        """
        if key is None:
            return None
        async with self._twins.after_the_first(key):
            return await self._kept(key)

    async def _kept(self, key: IdempotencyKey) -> Accepted | None:
        [kept] = await self._kept_answers([key])
        if isinstance(kept, Exception):
            raise kept
        return kept

    async def _flush(self, submissions: Sequence[Submission]) -> Sequence[_Result]:
        """Accept many submissions with one question to the limiter and one transaction."""
        kept = await self._kept_answers([each.key for each in submissions])
        new = [each for each, answer in zip(submissions, kept, strict=True) if not answer]
        accepted = iter(await self._accept(new))
        return [answer or next(accepted) for answer in kept]

    async def _accept(self, submissions: Sequence[Submission]) -> Sequence[_Result]:
        if not submissions:
            return ()
        self._metrics.accept_batch(len(submissions))
        try:
            admitted = await self._admit(submissions)
        except UnavailableError as error:  # of the limiter: an answer that was kept needs none
            return [error] * len(submissions)
        stored = iter(await self._keep([each for each in admitted if isinstance(each, Admission)]))
        return [next(stored) if isinstance(each, Admission) else each for each in admitted]

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

    async def _admit(self, submissions: Sequence[Submission]) -> Sequence[Admission | Exception]:
        users = [draft.user_id for submission in submissions for draft in submission.drafts]
        allowances = iter(await self._limiter.allow_many(users) if users else ())
        now = self._store.now()
        return [await self._judge(submission, allowances, now) for submission in submissions]

    async def _judge(
        self, submission: Submission, allowances: Iterator[Allowance], now: datetime
    ) -> Admission | Exception:
        asked = [next(allowances) for _ in submission.drafts]
        outcomes = [
            self._notification(draft, submission.trail, now)
            if allowance.allowed
            else self._refusal(allowance)
            for draft, allowance in zip(submission.drafts, asked, strict=True)
        ]
        if isinstance(outcomes[0], RateLimitedError) and len(outcomes) == 1:
            return outcomes[0]
        promised = self._publisher.expects
        try:
            answer = submission.render([shown_as(promised, each) for each in outcomes])
        except Exception as error:  # before anything is stored, and nobody else's fault
            await self._give_back(each for each in outcomes if isinstance(each, Notification))
            return error
        return Admission(
            submission=submission,
            outcomes=tuple(outcomes),
            promised=promised,
            answer=answer,
            allowance=asked[-1],
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
            status=Status.PENDING if waits else self._publisher.stored_as,
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

    async def _keep(self, admissions: Sequence[Admission]) -> Sequence[_Result]:
        storable = [admission for admission in admissions if admission.notifications]
        hold = self._publisher.hold
        taken = await self._add(storable, hold) if storable else ()
        kept = {id(each): answer for each, answer in zip(storable, taken, strict=True)}
        stored = [each for each in storable if not kept[id(each)]]
        publication = asyncio.create_task(self._publish(stored, is_ours=bool(hold)), context=Context())
        self._publications.add(publication)
        publication.add_done_callback(self._publications.discard)
        return [self._result(each, kept.get(id(each)), publication) for each in admissions]

    async def _add(self, admissions: Sequence[Admission], hold: timedelta) -> Sequence[StoredAnswer | None]:
        try:
            taken = await self._store.add_many(
                [each.acceptance() for each in admissions],
                keep_answers=self._keep_answers,
                hold=hold,
            )
        except BaseException:
            await self._give_back(one for each in admissions for one in each.notifications)
            raise
        repeats = [each for each, answer in zip(admissions, taken, strict=True) if answer]
        await self._give_back(one for each in repeats for one in each.notifications)
        return taken

    async def _give_back(self, notifications: Iterable[Notification]) -> None:
        users = [each.user_id for each in notifications]
        if users:
            # A limiter that fails now has counted one too many, which its window forgets; nothing is lost.
            with suppress(UnavailableError):
                await self._limiter.give_back_many(users)

    async def _publish(self, stored: Sequence[Admission], *, is_ours: bool) -> Mapping[int, bytes]:
        """Publish what is held for us; what is not, the relay may have taken already."""
        for each in stored:
            for one in each.notifications:
                self._metrics.accepted(one.channel_type)
        due = [one for each in stored for one in each.notifications if is_due(one)]
        queued = await self._publisher.publish(due) if is_ours else frozenset[NotificationId]()
        if len(queued) == len(due):
            return {}
        return await self._correct([each for each in stored if each.promised is Status.QUEUED], queued)

    async def _correct(
        self, promised: Sequence[Admission], queued: Container[NotificationId]
    ) -> Mapping[int, bytes]:
        """Show as pending what the broker did not take after all, now and to repeats."""
        answers = {id(each): each.rendered(queued) for each in promised}
        kept = [
            (each.submission.key, each.kept(each.submission.key, answers[id(each)]))
            for each in promised
            if each.submission.key
        ]
        try:
            async with asyncio.timeout(CORRECTION_PATIENCE.total_seconds()):
                await self._store.correct_answers(kept)
        except Exception as error:  # it is stored, and that is what the answer says
            log.warning("answers_not_corrected", count=len(kept), error=type(error).__name__)
        return answers

    def _result(
        self,
        admission: Admission,
        kept: StoredAnswer | None,
        publication: asyncio.Task[Mapping[int, bytes]],
    ) -> _Result:
        if kept and admission.submission.key:
            return self._replay(admission.submission.key, kept) or RequestInProgressError()
        return _Stored(admission, publication)


async def _told(result: Accepted | _Stored) -> Accepted:
    return await result.accepted() if isinstance(result, _Stored) else result
