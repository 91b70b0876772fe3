"""Announcing: everything that is kept is told, through every outage, without a flood in the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from notification_service.application import announce
from notification_service.application.announce import Announce
from notification_service.application.worker import Duty, Worker
from notification_service.domain.errors import BrokerUnavailableError, StoreUnavailableError
from notification_service.domain.notification import Status
from notification_service.domain.status_events import StatusEvent
from notification_service.observability.metrics import Metrics
from notification_service.ports.announcing import Announcing
from tests.application.workshop import Workshop
from tests.stores.house import until
from tests.stores.making import new_id


@dataclass
class Kept:
    """Status events in memory; each call first raises what it is told to."""

    events: list[StatusEvent] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    calls: int = 0

    def add(self, count: int) -> None:
        for _ in range(count):
            self.events.append(_event(len(self.events) + 1))

    async def hand_over(self, announcing: Announcing, *, limit: int) -> int:
        self.calls += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        if not self.events:
            return 0
        safe = await announcing(self.events[: min(limit, 2)])
        self.events = [each for each in self.events if each.sequence not in safe]
        return len(safe)

    async def oldest(self) -> timedelta:
        return timedelta(seconds=7) if self.events else timedelta()


@dataclass
class Crier:
    """A broker: each call first raises what it is told to, or hangs, or confirms only some."""

    told: list[int] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    unconfirmed: set[int] = field(default_factory=set)
    hangs: bool = False

    async def announce(self, events: Sequence[StatusEvent]) -> frozenset[int]:
        if self.failures:
            raise self.failures.pop(0)
        if self.hangs:
            await asyncio.Event().wait()
        safe = [each.sequence for each in events if each.sequence not in self.unconfirmed]
        self.told += safe
        return frozenset(safe)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "INTERVAL", timedelta(milliseconds=5))
    monkeypatch.setattr(announce, "LONGEST_PAUSE", timedelta(milliseconds=20))
    monkeypatch.setattr(announce, "WATCH_INTERVAL", timedelta(milliseconds=5))
    monkeypatch.setattr(announce, "PATIENCE", timedelta(milliseconds=50))


@asynccontextmanager
async def announcing(
    kept: Kept, crier: Crier, metrics: Metrics | None = None
) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    use_case = Announce(events=kept, announcer=crier, metrics=metrics or Metrics())
    running = asyncio.create_task(use_case.run(stopping=stopping))
    try:
        yield stopping
    finally:
        stopping.set()
        async with asyncio.timeout(1):
            await running


async def test_everything_is_told_as_it_comes() -> None:
    kept, crier = Kept(), Crier()
    kept.add(5)

    async with announcing(kept, crier):
        await until(lambda: crier.told == [1, 2, 3, 4, 5])
        kept.add(1)
        await until(lambda: crier.told[5:] == [1])


async def test_a_backlog_is_told_without_a_pause() -> None:
    kept, crier = Kept(), Crier()
    kept.add(100)

    async with announcing(kept, crier):
        await until(lambda: len(crier.told) == 100, seconds=0.2)


async def test_told_to_stop_it_leaves_the_rest_to_others() -> None:
    kept, crier = Kept(), Crier()
    kept.add(10_000)

    async with announcing(kept, crier) as stopping:
        await until(lambda: len(crier.told) > 1)
        stopping.set()

    assert kept.events


async def test_a_broker_that_is_away_costs_two_lines_and_no_event() -> None:
    kept, crier = Kept(), Crier(failures=[BrokerUnavailableError("it is away") for _ in range(5)])
    kept.add(3)

    with capture_logs() as logs:
        async with announcing(kept, crier):
            await until(lambda: crier.told == [1, 2, 3])
            await until(lambda: len(logs) > 1)

    assert [(each["event"], each.get("reason")) for each in logs] == [
        ("status_events_delayed", "it is away"),
        ("status_events_resumed", None),
    ]


async def test_a_database_that_is_away_costs_two_lines_and_no_event() -> None:
    kept, crier = Kept(failures=[StoreUnavailableError() for _ in range(5)]), Crier()
    kept.add(3)

    with capture_logs() as logs:
        async with announcing(kept, crier):
            await until(lambda: crier.told == [1, 2, 3])
            await until(lambda: len(logs) > 1)

    assert [each["event"] for each in logs] == ["status_events_delayed", "status_events_resumed"]


async def test_in_an_outage_it_asks_less_and_less_often() -> None:
    kept, crier = Kept(), Crier(failures=[BrokerUnavailableError() for _ in range(1000)])
    kept.add(1)

    async with announcing(kept, crier):
        await asyncio.sleep(0.3)

    assert kept.calls < 20


async def test_a_broker_that_hangs_is_given_up_and_asked_again() -> None:
    kept, crier = Kept(), Crier(hangs=True)
    kept.add(1)

    async with announcing(kept, crier):
        await until(lambda: kept.calls > 1)
        crier.hangs = False
        await until(lambda: crier.told == [1])


async def test_what_is_not_confirmed_is_told_again() -> None:
    kept, crier = Kept(), Crier(unconfirmed={1})
    kept.add(2)

    with capture_logs() as logs:
        async with announcing(kept, crier):
            await until(lambda: crier.told == [2] and bool(logs))
            crier.unconfirmed = set()
            await until(lambda: crier.told == [2, 1])

    assert logs[0]["reason"] == "the broker did not confirm everything"


async def test_a_fault_ends_nothing() -> None:
    kept, crier = Kept(failures=[ValueError("a bug")]), Crier(failures=[ValueError("another")])
    kept.add(1)

    async with announcing(kept, crier):
        await until(lambda: crier.told == [1])


async def test_the_age_of_the_oldest_is_shown() -> None:
    kept, crier, metrics = Kept(), Crier(failures=[BrokerUnavailableError() for _ in range(1000)]), Metrics()
    kept.add(1)

    def shown() -> str:
        lines = metrics.render()[0].decode().splitlines()
        return next(line for line in lines if line.startswith("status_events_oldest_seconds"))

    async with announcing(kept, crier, metrics):
        await until(lambda: shown().endswith(" 7.0"))
        crier.failures.clear()
        await until(lambda: shown().endswith(" 0.0"))


@pytest.mark.parametrize(("duty", "tells"), [(Duty.ALL, True), (Duty.RELAY, True), (Duty.DELIVER, False)])
async def test_a_worker_announces_unless_it_only_delivers(
    workshop: Workshop, duty: Duty, tells: bool
) -> None:
    kept, crier, stopping = Kept(), Crier(), asyncio.Event()
    kept.add(1)
    worker = Worker(
        deliver=workshop.deliver(),
        relay=None,
        sweep=workshop.sweep(),
        announce=Announce(events=kept, announcer=crier, metrics=workshop.metrics),
    )

    running = asyncio.create_task(worker.run(stopping=stopping, duty=duty))
    await asyncio.sleep(0.1)
    stopping.set()
    await running

    assert bool(crier.told) is tells


def _event(number: int) -> StatusEvent:
    return StatusEvent(
        sequence=number,
        event_type="notification.sent",
        notification_id=new_id(),
        user_id="ann",
        channel="email",
        status=Status.SENT,
        status_reason=None,
        retry_count=0,
        reference=None,
        occurred_at=datetime.now(UTC),
        correlation_id="correlation-1",
        traceparent=None,
    )
