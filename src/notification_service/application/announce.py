"""Tells other systems what became of notifications: from the database, at least once, each one's in order."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

import structlog

from notification_service.application.pausing import pause
from notification_service.domain.errors import UnavailableError
from notification_service.domain.status_events import StatusEvent
from notification_service.observability.metrics import Metrics
from notification_service.ports.announcing import Announcer, StatusEvents

INTERVAL = timedelta(seconds=0.5)
"""How late an event may be announced."""
LONGEST_PAUSE = timedelta(seconds=4)
"""How late it may be noticed that the broker or the database is back."""
WATCH_INTERVAL = timedelta(seconds=5)
PATIENCE = timedelta(seconds=5)
"""For one batch; the store gives a little more."""
BATCH = 500

log = structlog.get_logger(__name__)


class Announce:
    """Any number may run at the same time: one at a time announces."""

    def __init__(self, *, events: StatusEvents, announcer: Announcer, metrics: Metrics) -> None:
        """Take from `events` to `announcer`."""
        self._events = events
        self._announcer = announcer
        self._metrics = metrics
        self._trouble: str | None = None
        self._is_delayed = False

    async def run(self, *, stopping: asyncio.Event) -> None:
        """Announce until `stopping` is set."""
        wait, watch_at = INTERVAL, monotonic()
        while not stopping.is_set():
            await self._announce_all(stopping)
            self._tell()
            if monotonic() >= watch_at:
                watch_at = monotonic() + WATCH_INTERVAL.total_seconds()
                await self._watch()
            wait = min(2 * wait, LONGEST_PAUSE) if self._trouble else INTERVAL
            await pause(wait.total_seconds(), unless=stopping)

    async def _announce_all(self, stopping: asyncio.Event) -> None:
        self._trouble = None
        try:
            while not stopping.is_set() and await self._events.hand_over(self._announce, limit=BATCH):
                pass
        except UnavailableError as error:
            self._trouble = error.code
        except Exception:
            self._trouble = "unexpected"
            log.exception("announcing_failed")

    async def _announce(self, events: Sequence[StatusEvent]) -> frozenset[int]:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                safe = await self._announcer.announce(events)
        except Exception as error:
            self._trouble = str(error) if isinstance(error, UnavailableError) else type(error).__name__
            return frozenset()
        self._trouble = None if len(safe) == len(events) else "the broker did not confirm everything"
        return safe

    def _tell(self) -> None:
        """One line when an outage begins, and one when it is over."""
        if self._trouble and not self._is_delayed:
            log.warning("status_events_delayed", reason=self._trouble)
        if self._is_delayed and not self._trouble:
            log.info("status_events_resumed")
        self._is_delayed = self._trouble is not None

    async def _watch(self) -> None:
        with suppress(UnavailableError):
            waited = await self._events.oldest()
            self._metrics.set_oldest_status_event(waited.total_seconds())
