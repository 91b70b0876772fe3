"""Puts right what time has overtaken: lost claims, expired notifications, old idempotency keys."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from time import monotonic

import structlog

from notification_service.application.burial import bury
from notification_service.application.pausing import pause
from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import UnavailableError
from notification_service.domain.events import buried
from notification_service.domain.notification import Claim, Entry, Settlement, Status
from notification_service.domain.retry import RetryPolicy, judge_lost
from notification_service.observability.metrics import Metrics
from notification_service.ports import Broker, NotificationStore

BATCH = 500
AFTER_OUTAGE = timedelta(seconds=15)
"""After an outage of the store, lost claims are left alone so long: more than a worker needs to settle."""
WATCH_INTERVAL = timedelta(seconds=10)

log = structlog.get_logger(__name__)


class Sweep:
    """Any number may run at the same time: every change is conditional."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        broker: Broker,
        policies: Mapping[ChannelType, RetryPolicy],
        interval: timedelta,
        metrics: Metrics,
    ) -> None:
        """Look every `interval`; `policies` says how often a channel is tried."""
        self._store = store
        self._broker = broker
        self._policies = policies
        self._interval = interval
        self._metrics = metrics
        self._patient_until = 0.0

    async def run(self, *, stopping: asyncio.Event) -> None:
        """Sweep until `stopping` is set."""
        await _every(self._interval, stopping, self.once, failure="sweep_failed")

    async def watch(self, *, stopping: asyncio.Event) -> None:
        """Keep the gauges and the measured database time fresh until `stopping` is set."""
        await _every(WATCH_INTERVAL, stopping, self.measure, failure="watch_failed")

    async def once(self) -> None:
        """Do everything there is to do now; what one step meets doesn't keep the others from their work."""
        await self._guarded(self._release_lost_claims)
        await self._guarded(lambda: self._store.expire(limit=BATCH))
        await self._guarded(lambda: self._store.forget_answers(limit=BATCH))

    async def measure(self) -> None:
        """Show how much work there is."""
        backlog = await self._store.backlog()
        self._metrics.set_backlog(
            pending=backlog.pending,
            queued=backlog.queued,
            sending=backlog.sending,
            dead_letters=backlog.dead_letters,
            oldest_due_seconds=backlog.oldest_due.total_seconds(),
        )

    async def _guarded(self, step: Callable[[], Awaitable[int]]) -> None:
        try:
            while await step() >= BATCH:
                pass
        except UnavailableError as error:
            # Leases ran out while nobody could settle: those who know an ending may write it down first.
            self._patient_until = monotonic() + AFTER_OUTAGE.total_seconds()
            log.warning("sweep_failed", code=error.code)
        except Exception:
            log.exception("sweep_failed")

    async def _release_lost_claims(self) -> int:
        if monotonic() < self._patient_until:
            return 0
        claims = await self._store.lost_claims(limit=BATCH)
        if claims:
            settlements = [self._settlement(claim) for claim in claims]
            effective = await self._store.settle(settlements)
            await self._broker.wake({claim.notification.channel_type for claim in claims})
            await self._tell([each for each in settlements if each.claim.notification.id in effective])
        return len(claims)

    def _settlement(self, claim: Claim) -> Settlement:
        policy = self._policies[claim.notification.channel_type]
        verdict = judge_lost(attempts=claim.attempts_in_budget + 1, policy=policy)
        entry = Entry(
            kind="attempt",
            outcome=verdict.outcome,
            started_at=claim.claimed_at,
            finished_at=claim.claimed_at,
            error_code="lease_expired",
            detail="the worker was lost before the ending was known",
        )
        return Settlement(
            claim=claim,
            status=verdict.status,
            reason=verdict.reason,
            entry=entry,
            delay=verdict.delay,
            dead_letter=verdict.is_dead,
            claim_is_lost=True,
        )

    async def _tell(self, settlements: Sequence[Settlement]) -> None:
        for each in settlements:
            notification = each.claim.notification
            facts = {
                "notification_id": str(notification.id),
                "correlation_id": notification.trail.correlation_id,
                "channel": notification.channel_type,
            }
            self._metrics.lease_lost()
            log.warning("lease_expired", **facts)
            if each.status is Status.FAILED and each.reason:
                self._metrics.failed(each.reason)
                log.warning("sent_to_dlq", reason=each.reason, error_code=each.entry.error_code, **facts)
        dead = [
            buried(each.claim.notification, each.reason)
            for each in settlements
            if each.dead_letter and each.reason
        ]
        await bury(self._broker, dead)


async def _every(
    interval: timedelta, stopping: asyncio.Event, work: Callable[[], Awaitable[None]], *, failure: str
) -> None:
    while not stopping.is_set():
        try:
            await work()
        except UnavailableError as error:
            log.warning(failure, code=error.code)
        except Exception:
            log.exception(failure)
        await pause(interval.total_seconds(), unless=stopping)
