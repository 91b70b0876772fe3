"""Hands what was just stored to the broker, for as long as the broker keeps up."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, Self

import structlog

from notification_service.application.batcher import Batcher
from notification_service.domain.errors import UnavailableError
from notification_service.domain.notification import Notification, NotificationId, Status
from notification_service.ports import Broker, Outbox

PATIENCE = timedelta(seconds=1)
"""How long a caller waits for the broker; then what it sent is the relay's."""
HOLD = timedelta(seconds=2)
"""How long the relay leaves what was just stored to us: a publication and the time to write it down."""
LONGEST_PAUSE = timedelta(seconds=30)
"""How long a broker is left alone that answers questions and yet takes nothing."""
MARK_PATIENCE = timedelta(seconds=10)
LARGEST_MARK = 100
"""Publications that are marked as queued by one transaction."""

log = structlog.get_logger(__name__)


class Publisher:
    """The broker as accepting sees it: waited for until it fails once, then left alone until it answers.

    What isn't published here stays pending in the store, where the relay finds it.
    """

    def __init__(self, *, broker: Broker, outbox: Outbox, trust: timedelta) -> None:
        """The queue is trusted for `trust` with what it confirmed."""
        self._broker = broker
        self._outbox = outbox
        self._trust = trust
        self._is_well = True
        self._pause = PATIENCE
        self._tasks = set[asyncio.Task[None]]()
        self._marks: Batcher[Sequence[Notification], None] = Batcher(
            self._mark, largest=LARGEST_MARK, capacity=10_000, patience=MARK_PATIENCE
        )

    async def __aenter__(self) -> Self:
        """Publish until the block ends."""
        return self

    async def __aexit__(self, *details: object) -> None:
        """Write down what was published, and give up waiting for the broker."""
        marking = [task for task in self._tasks if task.get_name() != _PROBE]
        for task in self._tasks.difference(marking):
            task.cancel()
        if marking:
            await asyncio.wait(marking)
        await self._marks.__aexit__(*details)

    @property
    def stored_as(self) -> Status:
        """The status to store a due notification with."""
        return self._broker.accepts_as

    @property
    def expects(self) -> Status:
        """The status a due notification is going to have once it was handed to `publish`."""
        return Status.QUEUED if self._is_well else self.stored_as

    @property
    def hold(self) -> timedelta:
        """How long the relay must leave what is stored now to `publish`."""
        return HOLD if self._is_well else timedelta()

    async def publish(self, stored: Sequence[Notification]) -> frozenset[NotificationId]:
        """Return those that are in the queue now; takes a second at most and never raises."""
        if not stored or not self._is_well:
            return frozenset()
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                confirmed = await self._broker.publish(stored)
        except Exception as error:
            self._tell(stored, type(error).__name__)
            self._leave_alone()
            return frozenset()
        self._pause = PATIENCE
        if lacking := [each for each in stored if each.id not in confirmed]:
            self._tell(lacking, "not confirmed")
        if self.stored_as is Status.PENDING and confirmed:
            self._start(self._write_down([each for each in stored if each.id in confirmed]))
        return confirmed

    def _tell(self, stored: Sequence[Notification], error: str) -> None:
        for each in stored:
            log.warning(
                "queue_failed",
                notification_id=str(each.id),
                correlation_id=each.trail.correlation_id,
                error=error,
            )

    def _leave_alone(self) -> None:
        """Stop publishing; have one task ask when to begin again."""
        if self._is_well and self.stored_as is Status.PENDING:
            self._is_well = False
            self._start(self._wait_until_well(), name=_PROBE)

    async def _wait_until_well(self) -> None:
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        while not self._is_well:
            await asyncio.sleep(pause.total_seconds())
            pause = PATIENCE
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    await self._broker.check()
                self._is_well = True
            except Exception as error:
                log.debug("broker_still_away", error=type(error).__name__)

    async def _write_down(self, confirmed: Sequence[Notification]) -> None:
        try:
            await self._marks.submit(confirmed)
        except UnavailableError as error:
            # Queued and yet pending: the relay publishes them again, and claims tell them apart.
            log.warning("mark_failed", code=error.code, count=len(confirmed))
        except Exception:
            log.exception("mark_failed")

    async def _mark(self, batches: Sequence[Sequence[Notification]]) -> Sequence[None]:
        await self._outbox.mark_queued([one for batch in batches for one in batch], trust=self._trust)
        return [None] * len(batches)

    def _start(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_PROBE = "waiting for the broker"
