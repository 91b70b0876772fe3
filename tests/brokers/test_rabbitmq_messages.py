"""What RabbitMQ is handed, and what others put into it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import override

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from pamqp.commands import Basic
from structlog.testing import capture_logs

from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.events import Letter, write_event
from notification_service.domain.notification import Trail
from tests.brokers.conformance import CONSUMED, PATIENCE, SILENCE, a_dead_one, answering
from tests.brokers.rabbitmq_rig import Nameless, Rig
from tests.services.rabbitmq import RabbitmqServer
from tests.stores.making import a_notification

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
LOGIN = b'{"email": "ann@example.com", "name": "Ann"}'


@pytest.fixture
async def rig(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Rig]:
    rig = Rig(rabbitmq_server.url)
    yield rig
    await rig.remove()


@asynccontextmanager
async def connected(rig: Rig) -> AsyncIterator[RabbitmqBroker]:
    async with rig.broker() as broker:
        await answering(broker)
        yield broker


async def letters(broker: RabbitmqBroker, count: int = 1) -> list[Letter]:
    found: list[Letter] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            parcel = await broker.receive("email", limit=10, more=False)
            found.extend(parcel.letters)
            await broker.settled(parcel)
    return found


async def test_the_event_carries_its_trail_and_urgency(rig: Rig) -> None:
    notification = replace(
        a_notification(priority=5),
        trail=Trail(request_id="r-1", correlation_id="c-1", traceparent=TRACE),
    )
    async with connected(rig) as broker:
        await broker.publish([notification])
        (message,) = await rig.take(rig.topology.queue("email"))

    assert message.body == write_event(notification)
    assert own_headers(message) == {"correlation-id": "c-1", "traceparent": TRACE, "priority": "5"}
    assert (message.correlation_id, message.message_id) == ("c-1", str(notification.id))
    assert (message.priority, message.content_type) == (5, "application/json")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


def own_headers(message: AbstractIncomingMessage) -> dict[str, object]:
    """Without what quorum queues add."""
    return {name: value for name, value in message.headers.items() if name != "x-delivery-count"}


async def test_the_dead_carry_their_trail(rig: Rig) -> None:
    dead = replace(a_dead_one(), traceparent=TRACE)
    async with connected(rig) as broker:
        await broker.bury([dead])
        (message,) = await rig.take(rig.topology.dead_queue)

    assert own_headers(message) == {
        "correlation-id": "correlation-1",
        "traceparent": TRACE,
        "dlq-reason": "retries_exhausted",
    }
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


async def test_a_login_is_a_letter_of_the_email_channel(rig: Rig) -> None:
    async with connected(rig) as broker, broker.consuming(CONSUMED):
        await answering(broker)
        await until(lambda: rig.exists(rig.topology.logins))
        await rig.put(rig.topology.logins, LOGIN)

        (letter,) = await letters(broker)

    assert letter.body == LOGIN
    assert letter.source == rig.topology.logins


async def test_logins_that_waited_for_a_worker_are_received(rig: Rig) -> None:
    """The queue is its producers': it may be there before us, with arguments of their own."""
    async with rig.channel() as channel:
        await channel.declare_queue(rig.topology.logins, durable=True, arguments={"x-max-length": 1000})
    await rig.put(rig.topology.logins, LOGIN)

    async with connected(rig) as broker, broker.consuming(CONSUMED):
        assert [each.body for each in await letters(broker)] == [LOGIN]


async def test_a_worker_without_the_email_channel_leaves_logins_alone(rig: Rig) -> None:
    async with connected(rig) as broker, broker.consuming(frozenset({"sms"})):
        await asyncio.sleep(SILENCE / 2)

        assert not await rig.exists(rig.topology.logins)


async def test_work_of_other_channels_is_left_to_others(rig: Rig) -> None:
    sms = a_notification(channel_type="sms")
    async with connected(rig) as broker:
        async with broker.consuming(frozenset({"email"})):
            await broker.publish([a_notification(), sms])
            await broker.receive("email", limit=1, more=False)

        assert await rig.count(rig.topology.queue("sms")) == 1


async def test_a_named_letter_keeps_its_name_and_is_not_copied(rig: Rig) -> None:
    async with connected(rig) as broker:
        await rig.put(rig.topology.queue("email"), b"{}", Basic.Properties(message_id="theirs"))
        names = set()
        for _ in range(2):
            async with broker.consuming(CONSUMED), asyncio.timeout(PATIENCE):
                parcel = await broker.receive("email", limit=1, more=False)
                names.add(parcel.letters[0].name)

        assert len(names) == 1


async def test_a_nameless_letter_is_given_a_name_that_it_keeps(rig: Rig) -> None:
    """In the queue itself, so that a worker who gets it after us knows it, and with all that it had."""
    async with connected(rig) as broker:
        properties = Nameless(correlation_id="theirs", headers={"CC": ["nowhere"]}, user_id="guest")
        await rig.put(rig.topology.queue("email"), b"{}", properties)
        async with broker.consuming(CONSUMED), asyncio.timeout(PATIENCE):
            await broker.receive("email", limit=1, more=False)

        (message,) = await rig.take(rig.topology.queue("email"))

    assert message.message_id
    assert message.correlation_id == "theirs"
    assert "CC" not in message.headers
    assert message.user_id is None


class Microseconds(Nameless):
    """A time that is none: the year 50,000,000."""

    @override
    def marshal(self) -> bytes:
        self.timestamp = datetime(2026, 1, 1, tzinfo=UTC)
        plain = super().marshal()
        return plain[:-8] + b"\x7f" + plain[-7:]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
async def test_properties_that_nobody_can_read_stop_nobody(rig: Rig, queue_type: str) -> None:
    rig.queue_type = queue_type  # type: ignore[assignment]
    notification = a_notification()
    async with connected(rig) as broker, broker.consuming(CONSUMED):
        await rig.put(rig.topology.queue("email"), b"poison", Microseconds())
        await broker.publish([notification])

        seen: list[object] = []
        with capture_logs() as logs:
            async with asyncio.timeout(PATIENCE):
                while len(seen) < 2:
                    parcel = await broker.receive("email", limit=10, more=False)
                    seen += [*(parcel.ids or ()), *(each.body for each in parcel.letters)]
                    await broker.settled(parcel)

    assert set(seen) == {notification.id, b"poison"}
    assert not [each for each in logs if each["log_level"] != "info"]


async def test_what_finds_no_queue_is_not_published(rig: Rig) -> None:
    """And what was missing is put right, so that the next one finds its way."""
    lost, other = a_notification(), a_notification(channel_type="sms")
    async with connected(rig) as broker:
        async with rig.channel() as channel:
            await channel.queue_delete(rig.topology.queue("email"))
        with capture_logs() as logs:
            assert await broker.publish([lost, other]) == {other.id}

        await until(lambda: published(broker))

    assert "message_unroutable" in [each["event"] for each in logs]
    assert not [each for each in logs if "parcel" in str(each)]


async def published(broker: RabbitmqBroker) -> bool:
    try:
        return bool(await broker.publish([a_notification()]))
    except BrokerUnavailableError:
        return False


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if await true():
                return
            await asyncio.sleep(0.02)
