"""What is promised of status events, on a real broker; an adapter's test says how to listen."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest

from notification_service.adapters.brokers.kafka import KafkaBroker
from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.adapters.stores.sql.status_events import SqlStatusEvents
from notification_service.application.announce import Announce
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.notification import Claim, NotificationId, Reason, Settlement, Status
from notification_service.domain.status_events import StatusEvent
from notification_service.observability.metrics import Metrics
from tests.brokers.conformance import PATIENCE
from tests.e2e.processes import PROGRAMS, ServiceProcess
from tests.stores.house import House
from tests.stores.making import again, sent

AN_EVENT = StatusEvent(
    sequence=7,
    event_type="notification.failed",
    notification_id=NotificationId(UUID("01890a5d-ac96-774b-bcce-b302099a8057")),
    user_id="Zoë",
    channel="email",
    status=Status.FAILED,
    status_reason=Reason.PROVIDER_REJECTED,
    retry_count=2,
    reference=None,
    occurred_at=datetime(2026, 11, 21, 15, 30, tzinfo=UTC),
    correlation_id="correlation-1",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
A_LIFE = ["notification.retry_scheduled", "notification.retry_scheduled", "notification.sent"]
MANY = 300

type AnnouncingBroker = KafkaBroker | RabbitmqBroker


@dataclass(frozen=True)
class Heard:
    """One message as another system gets it."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    address: str
    """The key or routing key."""


class Ear(Protocol):
    """Another system."""

    async def next(self) -> Heard:
        """Wait for a message and take it."""


class Stage(ABC):
    """Where other systems are told; those who announce and listen in one test share a topic or exchange."""

    @abstractmethod
    def make(self) -> AnnouncingBroker:
        """Return a broker, not yet entered."""

    @abstractmethod
    def make_out_of_reach(self) -> AnnouncingBroker:
        """Return a broker whose server nobody runs."""

    @abstractmethod
    def listening(self) -> AbstractAsyncContextManager[Ear]:
        """Listen to everything that is announced."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The settings of a process that announces there."""

    @abstractmethod
    def address(self, event: StatusEvent) -> str:
        """What messages are told apart by on their way."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AnnouncingBroker]:
        """A broker that can be reached."""
        async with self.make() as broker, asyncio.timeout(2 * PATIENCE):
            while not await _is_well(broker):  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.05)
            yield broker


class AnnouncingConformance(Stage):
    """The sentences of `Announcer`, and what is promised of all transitions together."""

    async def test_an_event_arrives_as_it_is_documented(self) -> None:
        async with self.connected() as broker, self.listening() as ear:
            safe = await broker.announce([AN_EVENT])
            heard = await ear.next()

        assert safe == {7}
        assert heard.body == {
            "version": 1,
            "event_type": "notification.failed",
            "sequence": 7,
            "notification_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "user_id": "Zoë",
            "channel": "email",
            "status": "failed",
            "status_reason": "provider_rejected",
            "retry_count": 2,
            "reference": None,
            "occurred_at": "2026-11-21T15:30:00Z",
        }
        assert heard.headers["correlation-id"] == "correlation-1"
        assert heard.headers["traceparent"] == AN_EVENT.traceparent
        assert heard.address == self.address(AN_EVENT)

    async def test_nobody_has_to_listen(self) -> None:
        async with self.connected() as broker:
            assert await broker.announce([AN_EVENT, replace(AN_EVENT, sequence=8)]) == {7, 8}

    async def test_announcing_nothing_is_nothing(self) -> None:
        async with self.connected() as broker:
            assert await broker.announce([]) == frozenset()

    async def test_out_of_reach_it_says_so(self) -> None:
        async with self.make_out_of_reach() as broker:
            with pytest.raises(BrokerUnavailableError):
                await broker.announce([AN_EVENT])

    @pytest.mark.postgres
    async def test_two_relays_tell_every_transition_in_its_order(self, postgres_url: str) -> None:
        async with (
            House.open(postgres_url, status_events=True) as house,
            self.connected() as first,
            self.connected() as second,
            self.listening() as ear,
            announcing(house, first),
            announcing(house, second),
        ):
            living = asyncio.create_task(live(house))
            told = await everything(ear)
            await living

        assert list(told.values()) == [A_LIFE] * MANY


class OutageConformance(Stage):
    """What is promised when everything goes wrong at once, on a server of the test's own."""

    @abstractmethod
    def take_away(self) -> None:
        """Have the server serve nobody; whoever listens goes on afterwards where it was."""

    @abstractmethod
    def bring_back(self) -> None:
        """Have it serve again."""

    async def test_what_the_server_does_not_confirm_is_not_safe(self) -> None:
        async with self.connected() as broker:
            await broker.announce([AN_EVENT])
            self.take_away()
            with suppress(BrokerUnavailableError):
                assert await broker.announce([replace(AN_EVENT, sequence=8)]) == frozenset()
            await asyncio.to_thread(self.bring_back)

    @pytest.mark.postgres
    async def test_every_transition_is_told_though_who_announces_is_killed_in_an_outage(
        self, postgres_url: str, tmp_path: Path
    ) -> None:
        """In its hands are events that the broker has taken, and events that it has not."""
        async with (
            House.open(postgres_url, status_events=True) as house,
            self.connected() as another,
            self.listening() as ear,
        ):
            living = asyncio.create_task(live(house, pause=0.1))
            async with self._process(postgres_url, tmp_path) as relay:
                heard = [await ear.next() for _ in range(20)]
                self.take_away()
                await asyncio.sleep(1.5)
                relay.kill()
            await asyncio.to_thread(self.bring_back)
            async with announcing(house, another):
                told = await everything(ear, heard)
            await living

        assert list(told.values()) == [A_LIFE] * MANY

    @asynccontextmanager
    async def _process(self, postgres_url: str, folder: Path) -> AsyncIterator[ServiceProcess]:
        settings = self.settings() | {"NS_DATABASE_URL": postgres_url, "NS_WORKER_PORT": "0"}
        command = (PROGRAMS / "worker", "--relay-only")
        relay = ServiceProcess.start(command, settings=settings, folder=folder, log="relay.log", port=0)
        try:
            yield relay
        finally:
            relay.kill()


@asynccontextmanager
async def announcing(house: House, broker: AnnouncingBroker) -> AsyncIterator[None]:
    """Announce within the block what is stored."""
    stopping = asyncio.Event()
    relay = Announce(events=SqlStatusEvents(house.database), announcer=broker, metrics=Metrics())
    running = asyncio.create_task(relay.run(stopping=stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


async def live(house: House, *, pause: float = 0) -> None:
    """Let many notifications be tried three times, some at a time."""
    for _ in range(MANY):
        await house.add_one()
    while claims := await house.claim(limit=20):
        await house.store.settle([_ending(claim) for claim in claims])
        await asyncio.sleep(pause)


async def everything(ear: Ear, heard: Sequence[Heard] = ()) -> dict[str, list[str]]:
    """Listen until the last word on each notification; leave out what is told again, as others may do."""
    told: dict[str, list[str]] = {}
    newest: dict[str, int] = {}
    early = iter(heard)
    async with asyncio.timeout(2 * PATIENCE):
        while sum(each[-1] == A_LIFE[-1] for each in told.values()) < MANY:
            event = (next(early, None) or await ear.next()).body
            name = event["notification_id"]
            if event["sequence"] > newest.get(name, 0):
                newest[name] = event["sequence"]
                told.setdefault(name, []).append(event["event_type"])
    return told


def _ending(claim: Claim) -> Settlement:
    return again(claim) if claim.attempt < len(A_LIFE) else sent(claim)


async def _is_well(broker: AnnouncingBroker) -> bool:
    try:
        await broker.check()
    except BrokerUnavailableError:
        return False
    return True
