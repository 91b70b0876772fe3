"""What is declared in RabbitMQ, and in which order its queues are worked off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aio_pika
import pytest
from structlog.testing import capture_logs

from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.adapters.brokers.rabbitmq_topology import DELIVERY_LIMIT, QueueType, Topology
from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.notification import NotificationId
from tests.brokers.conformance import CONSUMED, PATIENCE, SILENCE, answering
from tests.brokers.rabbitmq_rig import Rig
from tests.services import free_port
from tests.services.rabbitmq import RabbitmqServer
from tests.stores.making import a_notification


@pytest.fixture
async def rig(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Rig]:
    rig = Rig(rabbitmq_server.url)
    yield rig
    await rig.remove()


async def trouble(broker: RabbitmqBroker, word: str) -> str:
    """Wait for a reason that holds this word."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await broker.check()
            except BrokerUnavailableError as error:
                if word in str(error):
                    return str(error)
            await asyncio.sleep(0.05)


def test_the_names_are_those_of_the_contract() -> None:
    topology = RabbitmqBroker("amqp://localhost", prefetch=1)._topology

    assert topology.exchange == "notifications.direct"
    assert topology.dead_queue == "failed.queue"
    assert topology.logins == "email_queue"
    assert [topology.queue(each) for each in CHANNEL_TYPES] == [
        "email.queue",
        "sms.queue",
        "push.queue",
        "webhook.queue",
        "chat.queue",
        "in_app.queue",
    ]


@pytest.mark.parametrize(
    ("priorities", "queue"),
    [((8, 9, 10), "email.high.queue"), ((4, 5, 6, 7), "email.queue"), ((1, 2, 3), "email.low.queue")],
)
def test_each_urgency_has_its_queue(priorities: tuple[int, ...], queue: str) -> None:
    topology = Topology(("email",), "quorum")

    assert {topology.queue(topology.routing_key("email", each)) for each in priorities} == {queue}


async def test_others_may_publish_by_the_channels_name(rig: Rig) -> None:
    async with rig.broker() as broker:
        await answering(broker)
        async with rig.channel() as channel:
            exchange = await channel.get_exchange(rig.topology.exchange)
            await exchange.publish(aio_pika.Message(b"{}"), "email")

        assert await rig.count(rig.topology.queue("email")) == 1


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
async def test_everything_survives_a_restart_and_is_of_the_chosen_type(
    rig: Rig, queue_type: QueueType
) -> None:
    """Declaring the same once more is accepted; anything else is told as different."""
    rig.queue_type = queue_type
    dead = {"x-dead-letter-exchange": rig.topology.dead_exchange}
    limit = {"x-delivery-limit": DELIVERY_LIMIT} if queue_type == "quorum" else {}
    async with rig.broker() as broker:
        await answering(broker)

    async with rig.channel() as channel:
        for queue in rig.topology.queues("email"):
            await channel.declare_queue(
                queue, durable=True, arguments={"x-queue-type": queue_type, **dead, **limit}
            )
        await channel.declare_exchange(rig.topology.exchange, "direct", durable=True)
        await channel.declare_exchange(rig.topology.dead_exchange, "fanout", durable=True)


async def test_a_message_that_is_delivered_too_often_is_buried(rig: Rig) -> None:
    """Quorum queues count; then it lies in the dead-letter queue, with its history."""
    async with rig.broker() as broker:
        await answering(broker)
        await rig.put(rig.topology.queue("email"), b"kills workers")
        async with rig.channel() as channel, asyncio.timeout(PATIENCE):
            queue = await channel.get_queue(rig.topology.queue("email"), ensure=False)
            while not await rig.count(rig.topology.dead_queue):
                if message := await queue.get(fail=False):
                    await message.nack(requeue=True)

        (message,) = await rig.take(rig.topology.dead_queue)

    assert message.body == b"kills workers"
    assert "delivery_limit" in str(message.headers["x-death"])


async def test_a_queue_with_other_arguments_is_told_and_not_stormed(rig: Rig) -> None:
    name = rig.topology.queue("sms")
    async with rig.channel() as channel:
        await channel.declare_queue(name, durable=True)

    with capture_logs() as logs:
        async with rig.broker() as broker:
            told = await trouble(broker, "other arguments")
            await asyncio.sleep(2 * SILENCE)
            with pytest.raises(BrokerUnavailableError, match="NS_RABBITMQ_QUEUE_TYPE"):
                await broker.publish([a_notification()])

    assert f"'{name}'" in told
    assert "delete it there once it is empty" in told
    assert "NS_RABBITMQ_QUEUE_TYPE (now quorum)" in told
    assert [each["event"] for each in logs] == ["broker_unusable"]
    assert logs[0]["reason"] == told


async def test_a_wrong_password_is_told_and_not_stormed(rig: Rig) -> None:
    url = rig.url.replace("guest:guest", "guest:geheim")

    with capture_logs() as logs:
        async with rig.broker(url) as broker:
            told = await trouble(broker, "refuses")
            await asyncio.sleep(SILENCE)

    assert told == "RabbitMQ refuses this user or password; correct NS_RABBITMQ_URL"
    assert [each["event"] for each in logs] == ["broker_unusable"]
    assert "geheim" not in str(logs)


async def test_an_unknown_virtual_host_is_told(rig: Rig) -> None:
    async with rig.broker(f"{rig.url}nowhere") as broker:
        assert "virtual host" in await trouble(broker, "virtual host")


async def test_a_server_that_is_not_there_is_told(rig: Rig) -> None:
    async with rig.broker(f"amqp://ann:geheim@127.0.0.1:{free_port()}/") as broker:
        told = await trouble(broker, "out of reach")

    assert "start it or correct NS_RABBITMQ_URL" in told
    assert "geheim" not in told


async def test_check_names_version_and_cluster(rig: Rig) -> None:
    async with rig.broker() as broker:
        await answering(broker)

        line = await broker.check()

    assert line.startswith("RabbitMQ ")
    assert ", cluster " in line


async def test_a_worker_takes_no_more_than_its_prefetch(rig: Rig) -> None:
    async with rig.broker(prefetch=3) as broker:
        await answering(broker)
        await broker.publish([a_notification() for _ in range(10)])
        async with broker.consuming(CONSUMED):
            await asyncio.sleep(SILENCE)

            assert await rig.count(rig.topology.queue("email")) == 7
            parcel = await broker.receive("email", limit=10, more=False)
            assert len(parcel.ids or ()) == 3
            await broker.settled(parcel)
            await asyncio.sleep(SILENCE / 2)
            assert await rig.count(rig.topology.queue("email")) == 4


async def test_a_queue_that_somebody_deleted_is_made_again(rig: Rig) -> None:
    """Whoever consumes it goes on, and whoever counts it sees to it."""
    async with rig.broker() as broker, broker.consuming(CONSUMED):
        await answering(broker)
        async with rig.channel() as channel:
            await channel.queue_delete(rig.topology.queue("email"))
            await channel.queue_delete(rig.topology.queue("sms.low"))

        await until_drained(broker)
        notification = a_notification()
        await broker.publish([notification])
        assert await receive(broker, 1) == [notification.id]


async def until_drained(broker: RabbitmqBroker) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(BrokerUnavailableError):
                if await broker.drained() >= CONSUMED:
                    return
            await asyncio.sleep(0.05)


async def test_the_urgent_overtake_a_backlog(rig: Rig) -> None:
    """What is urgent waits for no more than what workers have in hand already."""
    backlog = [a_notification(priority=each) for each in (2, 5) * 100]
    urgent = {each.id for each in (a_notification(priority=9) for _ in range(20))}
    async with rig.broker(prefetch=10) as broker:
        await answering(broker)
        await broker.publish(backlog)
        async with broker.consuming(CONSUMED):
            await broker.settled(await broker.receive("email", limit=10, more=False))
            await broker.publish([a_notification(id=each, priority=9) for each in urgent])
            order = await receive(broker, 200)

    assert len(set(order)) == 200
    assert urgent <= set(order[:50])  # they, and what three queues had handed out before


async def receive(broker: RabbitmqBroker, count: int) -> list[NotificationId]:
    """In order, a few at a time."""
    received: list[NotificationId] = []
    async with asyncio.timeout(PATIENCE):
        while len(received) < count:
            parcel = await broker.receive("email", limit=5, more=True)
            received.extend(parcel.ids or ())
            await broker.settled(parcel)
            await asyncio.sleep(0.02)
    return received
