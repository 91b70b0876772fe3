"""Status events on a RabbitMQ exchange."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import override

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage, ExchangeType

from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.status_events import StatusEvent
from tests.brokers.conformance import PATIENCE
from tests.brokers.conformance_of_announcing import (
    AN_EVENT,
    AnnouncingConformance,
    Ear,
    Heard,
    OutageConformance,
    Stage,
)
from tests.brokers.rabbitmq_rig import Rig
from tests.services import free_port
from tests.services.rabbitmq import OwnRabbitmq, RabbitmqServer


class OnRabbitmq(Stage):
    """An exchange of its own for each test."""

    rig: Rig
    exchange: str

    @override
    def make(self) -> RabbitmqBroker:
        return self.rig.broker(status_exchange=self.exchange)

    @override
    def make_out_of_reach(self) -> RabbitmqBroker:
        return self.rig.broker(f"amqp://127.0.0.1:{free_port()}/", status_exchange=self.exchange)

    @override
    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Ear]:
        async with self.rig.channel() as channel:
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(self.exchange, "notification.#")
            ear = RabbitmqEar()
            await queue.consume(ear.hear, no_ack=True)
            yield ear

    @override
    def settings(self) -> dict[str, str]:
        return {
            "NS_BROKER": "rabbitmq",
            "NS_RABBITMQ_URL": self.rig.url,
            "NS_RABBITMQ_PREFIX": self.rig.prefix,
            "NS_RABBITMQ_QUEUE_TYPE": self.rig.queue_type,
            "NS_STATUS_EVENTS": self.exchange,
        }

    @override
    def address(self, event: StatusEvent) -> str:
        """So that others bind for what they care for."""
        return event.event_type


class TestAnnouncing(OnRabbitmq, AnnouncingConformance):
    """On a server that is to be left running."""

    @pytest.fixture(autouse=True)
    async def _on_a_server(self, rabbitmq_server: RabbitmqServer) -> AsyncIterator[None]:
        self.rig = Rig(rabbitmq_server.url)
        self.exchange = f"{self.rig.prefix}status"
        yield
        await self.rig.remove()
        async with self.rig.channel() as channel:
            await channel.exchange_delete(self.exchange)

    async def test_the_exchange_is_durable_and_messages_outlive_a_restart(self) -> None:
        async with self.connected() as broker, self.rig.channel() as channel:
            await channel.declare_exchange(self.exchange, ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(self.exchange, "notification.failed")
            await broker.announce([AN_EVENT])
            async with asyncio.timeout(PATIENCE):
                message = await queue.get(no_ack=True)

        assert message is not None
        assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT

    async def test_another_kind_of_exchange_under_the_name_is_told_with_its_remedy(self) -> None:
        async with self.rig.channel() as channel:
            await channel.declare_exchange(self.exchange, ExchangeType.FANOUT)

        async with self.make() as broker, asyncio.timeout(PATIENCE):
            while "NS_STATUS_EVENTS" not in await _trouble(broker):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)


class TestAnnouncingInOutages(OnRabbitmq, OutageConformance):
    """On a server of its own."""

    @pytest.fixture(autouse=True)
    def _on_its_own_server(self, own_rabbitmq: OwnRabbitmq) -> None:
        self.server, self.rig = own_rabbitmq, Rig(own_rabbitmq.url)
        self.exchange = f"{self.rig.prefix}status"

    @override
    def take_away(self) -> None:
        """Frozen: who listens has a queue that lives as long as its connection."""
        self.server.freeze()

    @override
    def bring_back(self) -> None:
        self.server.thaw()


class RabbitmqEar:
    """Reads a queue."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def hear(self, message: AbstractIncomingMessage) -> None:
        self._messages.put_nowait(message)

    async def next(self) -> Heard:
        message = await self._messages.get()
        headers = {name: str(value) for name, value in message.headers.items()}
        return Heard(json.loads(message.body), headers, message.routing_key or "")


async def _trouble(broker: RabbitmqBroker) -> str:
    try:
        return await broker.check()
    except BrokerUnavailableError as error:
        return str(error)
