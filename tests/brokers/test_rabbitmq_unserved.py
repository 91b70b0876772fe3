"""A queue that RabbitMQ declares and then doesn't serve.

Server 3.10 does so to a quorum queue if it is killed within seconds of making it.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress

import aio_pika
import pytest
from structlog.testing import capture_logs

from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.notification import Notification, NotificationId
from notification_service.ports import Broker
from tests.brokers.conformance import PATIENCE, answering
from tests.brokers.rabbitmq_rig import Rig
from tests.services.rabbitmq import OwnRabbitmq
from tests.stores.making import a_notification

pytestmark = pytest.mark.timeout(200)

CHANNELS: tuple[ChannelType, ...] = ("email", "sms", "push", "webhook")
ATTEMPTS = 5


@pytest.fixture
async def rig(own_rabbitmq: OwnRabbitmq) -> AsyncIterator[Rig]:
    rig = Rig(own_rabbitmq.url, "quorum", CHANNELS)
    yield rig
    await asyncio.to_thread(own_rabbitmq.wipe)
    await asyncio.to_thread(own_rabbitmq.start)


async def a_key_that_hangs(server: OwnRabbitmq, rig: Rig) -> tuple[ChannelType, int]:
    """Kill a server that has just declared everything until it leaves a queue behind: channel, priority."""
    for _ in range(ATTEMPTS):
        async with await aio_pika.connect(rig.url) as connection:
            await rig.topology.declare(connection)
            await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for channel in CHANNELS:
            for priority in (9, 5, 1):
                if await hangs(rig, rig.topology.queue(rig.topology.routing_key(channel, priority))):
                    return channel, priority
        await rig.remove()
    pytest.skip(f"this server serves every queue, however it was killed ({ATTEMPTS} attempts)")


async def hangs(rig: Rig, queue: str) -> bool:
    connection = await aio_pika.connect(rig.url)
    try:
        async with asyncio.timeout(2):
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), queue)
    except TimeoutError:
        return True
    finally:
        await connection.close()
    return False


async def test_it_is_told_and_the_others_work_on(own_rabbitmq: OwnRabbitmq, rig: Rig) -> None:
    channel, priority = await a_key_that_hangs(own_rabbitmq, rig)
    queue = rig.topology.queue(rig.topology.routing_key(channel, priority))
    stuck = [a_notification(channel_type=channel, priority=priority) for _ in range(600)]
    other = [a_notification(channel_type="sms" if channel != "sms" else "push") for _ in range(20)]

    with capture_logs() as logs:
        async with rig.broker() as broker, broker.consuming(frozenset(CHANNELS)):
            await asyncio.sleep(8)
            with pytest.raises(BrokerUnavailableError) as caught:
                await broker.check()
            assert f"does not serve {queue}; delete this queue in RabbitMQ" in str(caught.value)

            others = {each.id for each in other}
            assert await broker.publish([*stuck, *other]) == others
            with pytest.raises(BrokerUnavailableError, match="confirms nothing"):
                await broker.publish([*stuck, *other])  # it is found silent: a new connection, once
            async with asyncio.timeout(PATIENCE):
                await published(broker, [*stuck, *other], but={each.id for each in stuck})
            for _ in range(20):  # from here on it holds nobody up
                async with asyncio.timeout(1):
                    assert await broker.publish([*stuck, *other]) == others

            await delete(rig, queue)
            async with asyncio.timeout(2 * PATIENCE):
                await answering(broker)
                await published(broker, stuck)

    told = [each for each in logs if each["event"] == "queue_not_served"]
    assert [each["queue"] for each in told] == [queue]
    assert [each["event"] for each in logs].count("queue_confirms_nothing") == 1


async def delete(rig: Rig, queue: str) -> None:
    async with rig.channel() as channel:
        await channel.queue_delete(queue)


async def published(
    broker: Broker, notifications: Sequence[Notification], *, but: Collection[NotificationId] = ()
) -> None:
    """Publish until all is safe that can be."""
    while True:
        with suppress(BrokerUnavailableError):
            if await broker.publish(notifications) == {each.id for each in notifications}.difference(but):
                return
        await asyncio.sleep(0.1)
