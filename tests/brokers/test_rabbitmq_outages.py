"""RabbitMQ killed, wiped and frozen under a broker that is in use."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.notification import NotificationId
from notification_service.ports import Broker
from tests.brokers.conformance import CONSUMED, PATIENCE, answering
from tests.brokers.rabbitmq_rig import Rig
from tests.services.rabbitmq import OwnRabbitmq
from tests.stores.making import a_notification

pytestmark = pytest.mark.timeout(120)

NOTICED_WITHIN = 12.0
"""Seconds after which a dead connection must be known as such."""


@pytest.fixture
async def rig(own_rabbitmq: OwnRabbitmq) -> AsyncIterator[Rig]:
    # Classic: killed within seconds of making a quorum queue, 3.10 never serves it again (see below).
    rig = Rig(own_rabbitmq.url, "classic")
    yield rig
    await rig.remove()


@asynccontextmanager
async def in_use(rig: Rig) -> AsyncIterator[Broker]:
    async with rig.broker() as broker, broker.consuming(CONSUMED):
        await answering(broker)
        yield broker


async def receive(broker: Broker, count: int, *, settle: bool = True) -> set[NotificationId]:
    received: set[NotificationId] = set()
    async with asyncio.timeout(PATIENCE):
        while len(received) < count:
            parcel = await broker.receive("email", limit=100, more=True)
            received.update(parcel.ids or ())
            if settle:
                await broker.settled(parcel)
    return received


async def publish_when_possible(broker: Broker) -> NotificationId:
    notification = a_notification()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await broker.publish([notification])
            except BrokerUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return notification.id


async def trouble(broker: Broker, within: float) -> str:
    """Wait for the reason why there is no broker."""
    async with asyncio.timeout(within):
        while True:
            try:
                await broker.check()
            except BrokerUnavailableError as error:
                return str(error)
            await asyncio.sleep(0.05)


async def test_a_killed_server_is_noticed_and_found_again(own_rabbitmq: OwnRabbitmq, rig: Rig) -> None:
    """What was published before is there afterwards, the unsettled included, and work goes on by itself."""
    notifications = [a_notification() for _ in range(50)]
    async with in_use(rig) as broker:
        await broker.publish(notifications)
        taken = await receive(broker, 20, settle=False)

        await asyncio.to_thread(own_rabbitmq.kill)

        assert "out of reach" in await trouble(broker, 2)
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="start it or correct NS_RABBITMQ_URL"):
            await broker.publish([a_notification()])
        assert time.monotonic() - began < 0.5
        await asyncio.to_thread(own_rabbitmq.start)
        later = await publish_when_possible(broker)
        assert await receive(broker, 51) == {each.id for each in notifications} | {later}
        assert len(taken) >= 20


async def test_what_was_confirmed_survives_a_kill_in_the_middle(own_rabbitmq: OwnRabbitmq, rig: Rig) -> None:
    confirmed: set[NotificationId] = set()

    async def publish_until_it_fails(broker: Broker) -> None:
        with suppress(BrokerUnavailableError):
            while True:
                confirmed.update(await broker.publish([a_notification() for _ in range(100)]))

    async with rig.broker() as broker:
        await answering(broker)
        publishing = [asyncio.create_task(publish_until_it_fails(broker)) for _ in range(3)]
        await asyncio.wait(publishing, timeout=2)
        await asyncio.to_thread(own_rabbitmq.kill)
        await asyncio.gather(*publishing)
        await asyncio.to_thread(own_rabbitmq.start)
        async with broker.consuming(CONSUMED):
            assert len(confirmed) >= 100
            async with asyncio.timeout(PATIENCE):
                while confirmed:
                    confirmed -= await receive(broker, 1)


async def test_work_goes_out_within_a_second_of_the_servers_return(
    own_rabbitmq: OwnRabbitmq, rig: Rig
) -> None:
    async with in_use(rig) as broker:
        await asyncio.to_thread(own_rabbitmq.kill)
        await asyncio.sleep(3)  # so that the pauses have grown to their largest
        await asyncio.to_thread(own_rabbitmq.start)
        began = time.monotonic()

        await publish_when_possible(broker)

        assert time.monotonic() - began < 1.5


async def test_a_wiped_server_is_set_up_anew(own_rabbitmq: OwnRabbitmq, rig: Rig) -> None:
    async with in_use(rig) as broker:
        await broker.publish([a_notification(channel_type="sms") for _ in range(200)])
        await broker.drained()
        assert "sms" not in await broker.drained()

        await asyncio.to_thread(own_rabbitmq.wipe)
        await asyncio.to_thread(own_rabbitmq.start)

        published = await publish_when_possible(broker)
        assert await receive(broker, 1) == {published}
        await broker.drained()
        assert await broker.drained() >= {"sms"}


async def test_a_new_connection_looks_twice_before_it_calls_a_queue_drained(
    own_rabbitmq: OwnRabbitmq, rig: Rig
) -> None:
    """Just restarted, a server may not have read yet what it holds."""
    async with in_use(rig) as broker:
        await broker.drained()
        await asyncio.to_thread(own_rabbitmq.kill)
        await asyncio.to_thread(own_rabbitmq.start)
        await answering(broker)

        assert await broker.drained() == frozenset()
        assert await broker.drained() >= CONSUMED


async def test_a_frozen_server_costs_no_more_than_the_callers_patience(
    own_rabbitmq: OwnRabbitmq, rig: Rig
) -> None:
    async with in_use(rig) as broker:
        own_rabbitmq.freeze()
        try:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await broker.publish([a_notification() for _ in range(10)])
            began = time.monotonic()
            for attempt in (broker.check(), broker.publish([a_notification()])):
                with pytest.raises(BrokerUnavailableError):
                    await attempt
            assert time.monotonic() - began < 7
        finally:
            own_rabbitmq.thaw()

        await answering(broker)
        published = await publish_when_possible(broker)
        while published not in await receive(broker, 1):
            pass  # what the frozen server was sent may have arrived after all


async def test_a_frozen_server_is_noticed_by_its_silence(own_rabbitmq: OwnRabbitmq, rig: Rig) -> None:
    async with in_use(rig) as broker:
        own_rabbitmq.freeze()
        try:
            with capture_logs() as logs:
                await asyncio.sleep(NOTICED_WITHIN)
            lost = [each["connection"] for each in logs if each["event"] == "broker_lost"]
            assert sorted(lost) == ["notification-service", "notification-service worker"]
        finally:
            own_rabbitmq.thaw()

        published = await publish_when_possible(broker)
        assert published in await receive(broker, 1)


async def test_an_outage_is_one_line_in_the_log(own_rabbitmq: OwnRabbitmq, rig: Rig) -> None:
    """One for each connection, and one for its return, however often it was tried in between."""
    async with in_use(rig) as broker:
        with capture_logs() as logs:
            await asyncio.to_thread(own_rabbitmq.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(own_rabbitmq.start)
            await answering(broker)

    assert sorted(each["event"] for each in logs) == ["broker_connected"] * 2 + ["broker_lost"] * 2
    assert not [each for each in logs if "guest" in str(each)]
