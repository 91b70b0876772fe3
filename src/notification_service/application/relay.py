"""Publishes what is due and in no queue: retries, scheduled sends, and what a broker missed or lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic

import structlog

from notification_service.application.pausing import pause
from notification_service.domain.errors import BrokerUnavailableError, UnavailableError
from notification_service.domain.notification import Notification
from notification_service.observability.metrics import Metrics
from notification_service.ports import Broker, Outbox

INTERVAL = timedelta(seconds=0.5)
"""How late a retry or a scheduled send may begin, and how soon a broker that is back is used."""
RECOVERY_INTERVAL = timedelta(seconds=5)
ADOPTION_INTERVAL = timedelta(seconds=60)
BATCH = 500
PER_SECOND = 5_000
"""What one relay publishes at most, so that an outage's backlog doesn't drown what comes after it."""
PATIENCE = timedelta(seconds=10)
HOLD = timedelta(seconds=15)
"""Longer than the patience: nobody else publishes what may still arrive."""
AFTER_OUTAGE = timedelta(seconds=15)
"""After an outage of the store: workers may hold queued messages that they could not claim meanwhile."""

log = structlog.get_logger(__name__)


class Relay:
    """Any number may run at the same time: what one has taken, no other takes."""

    def __init__(self, *, outbox: Outbox, broker: Broker, trust: timedelta, metrics: Metrics) -> None:
        """The queue is trusted for `trust` with what it confirmed."""
        self._outbox = outbox
        self._broker = broker
        self._trust = trust
        self._metrics = metrics
        self._is_away = False
        self._patient_until = 0.0
        self._asked_at = 0.0

    async def run(self, *, stopping: asyncio.Event) -> None:
        """Relay until `stopping` is set."""
        recover_at = adopt_at = monotonic()
        while not stopping.is_set():
            await self._guarded(lambda: self.publish_due(stopping))
            if monotonic() >= recover_at:
                recover_at = monotonic() + min(RECOVERY_INTERVAL, self._trust / 2).total_seconds()
                await self._guarded(lambda: self.recover(stopping))
            if monotonic() >= adopt_at:
                adopt_at = monotonic() + ADOPTION_INTERVAL.total_seconds()
                await self._guarded(self._adopt)
            await pause(INTERVAL.total_seconds(), unless=stopping)

    async def publish_due(self, stopping: asyncio.Event) -> int:
        """Publish everything that is due and that nobody holds; return how many were taken for it."""
        if self._is_away:
            await self._broker.check()
            self._is_away = False
        published, lacking = 0, list[Notification]()
        while not stopping.is_set():
            began = monotonic()
            taken = await self._publish_some(lacking)
            published += taken
            await pause(began + taken / PER_SECOND - monotonic(), unless=stopping)
            if taken < BATCH:
                break
        if lacking:  # held until here, so that they don't stand before the others of this round
            log.warning("not_confirmed", count=len(lacking), remedy="look at the broker's queues and its log")
            await self._outbox.release(lacking)
        return published

    async def recover(self, stopping: asyncio.Event) -> None:
        """Publish again what the queue was trusted with for too long and demonstrably no longer holds."""
        began = monotonic()
        drained = await self._broker.drained()
        last_asked_at, self._asked_at = self._asked_at, began
        if monotonic() < self._patient_until:
            return
        # It answers for what was published before it was last asked. What was published since has run out of
        # trust only after this: also what we publish again right here, which a long backlog would repeat.
        until = last_asked_at + self._trust.total_seconds()
        while drained and monotonic() < until and not stopping.is_set():
            lost = await self._outbox.distrust(drained, limit=BATCH)
            if not lost:
                return
            log.warning("published_again", count=lost, remedy="the broker lost them; look at its log")
            self._metrics.republished(lost)
            await self.publish_due(stopping)

    async def _adopt(self) -> None:
        while await self._outbox.adopt(limit=BATCH) >= BATCH:
            pass

    async def _publish_some(self, lacking: list[Notification]) -> int:
        """How many were taken, none when the broker failed; adds to `lacking` what it did not confirm."""
        taken = await self._outbox.take(limit=BATCH, hold=HOLD)
        if not taken:
            return 0
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                confirmed = await self._broker.publish(taken)
        except Exception as error:
            self._is_away = True
            log.warning("relay_failed", count=len(taken), error=type(error).__name__)
            await self._outbox.release(taken)
            return 0
        await self._outbox.mark_queued([each for each in taken if each.id in confirmed], trust=self._trust)
        lacking += [each for each in taken if each.id not in confirmed]
        return len(taken)

    async def _guarded(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except BrokerUnavailableError as error:
            self._is_away = True
            log.debug("broker_away", reason=str(error))
        except UnavailableError as error:
            self._patient_until = monotonic() + AFTER_OUTAGE.total_seconds()
            log.warning("relay_failed", code=error.code)
        except Exception:
            log.exception("relay_failed")
