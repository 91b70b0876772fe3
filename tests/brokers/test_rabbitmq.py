"""RabbitMQ, the real server: what every broker promises."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import override

import aio_pika
import pytest

from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.adapters.brokers.rabbitmq_topology import QueueType, Topology
from notification_service.domain.channels import ChannelType
from notification_service.ports import Broker
from tests.brokers.conformance import PATIENCE
from tests.brokers.conformance_of_queues import QueueConformance
from tests.services import free_port
from tests.services.rabbitmq import RabbitmqServer

DECLARED: tuple[ChannelType, ...] = ("email", "sms")


class TestConformance(QueueConformance):
    """`ports.Broker`, on quorum queues."""

    queue_type: QueueType = "quorum"

    @pytest.fixture(autouse=True)
    async def _on_a_server(self, rabbitmq_server: RabbitmqServer) -> AsyncIterator[None]:
        self.url = rabbitmq_server.url
        self.topology = Topology(DECLARED, self.queue_type, f"{uuid.uuid4().hex}.")
        yield
        await remove(self.url, self.topology)

    @override
    def make(self) -> Broker:
        return self._broker(self.url)

    @override
    def make_out_of_reach(self) -> Broker:
        return self._broker(f"amqp://ann:geheim@127.0.0.1:{free_port()}/")

    @override
    async def put(self, channel: ChannelType, body: bytes, *, headers: dict[str, str] | None = None) -> None:
        async with await aio_pika.connect(self.url) as connection:
            opened = await connection.channel()
            exchange = await opened.get_exchange(self.topology.exchange, ensure=False)
            message = aio_pika.Message(body, headers=dict(headers or {}))
            await exchange.publish(message, self.topology.routing_key(channel, 5))

    @override
    async def dead_letters(self, count: int) -> Sequence[tuple[bytes, str]]:
        async with await aio_pika.connect(self.url) as connection:
            opened = await connection.channel()
            queue = await opened.get_queue(self.topology.dead_queue, ensure=False)
            found: list[tuple[bytes, str]] = []
            async with asyncio.timeout(PATIENCE):
                while len(found) < count:
                    if message := await queue.get(fail=False):
                        found.append((message.body, str(message.headers["dlq-reason"])))
            return found

    def _broker(self, url: str) -> RabbitmqBroker:
        return RabbitmqBroker(
            url,
            prefetch=100,
            queue_type=self.topology.queue_type,
            prefix=self.topology.prefix,
            channels=self.topology.channels,
        )


class TestConformanceOfClassicQueues(TestConformance):
    """`ports.Broker`, on classic queues."""

    queue_type: QueueType = "classic"


async def remove(url: str, topology: Topology) -> None:
    """Take everything away that was declared."""
    queues = [queue for each in topology.channels for queue in topology.queues(each)]
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in (*queues, topology.dead_queue, topology.logins):
            await channel.queue_delete(queue)
        for exchange in (topology.exchange, topology.dead_exchange):
            await channel.exchange_delete(exchange)
