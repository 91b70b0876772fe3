"""A corner of a RabbitMQ server for one test: queues that no other test knows, and a view of them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, override

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from pamqp.commands import Basic

from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.adapters.brokers.rabbitmq_topology import QueueType, Topology
from notification_service.domain.channels import ChannelType
from tests.brokers.conformance import PATIENCE

DECLARED: tuple[ChannelType, ...] = ("email", "sms")


class Nameless(Basic.Properties):
    """Leaves the message_id away that the library insists on."""

    @override
    def marshal(self) -> bytes:
        self.message_id = None
        return super().marshal()


@dataclass
class Rig:
    """Makes brokers that share their queues, and does what other programs do with these."""

    url: str
    queue_type: QueueType = "quorum"
    channels: Sequence[ChannelType] = DECLARED
    prefix: str = field(default_factory=lambda: f"{uuid.uuid4().hex}.")

    @property
    def topology(self) -> Topology:
        """The names."""
        return Topology(tuple(self.channels), self.queue_type, self.prefix)

    def broker(self, url: str | None = None, **changes: Any) -> RabbitmqBroker:
        """Return a broker, not yet entered."""
        arguments: dict[str, Any] = {
            "prefetch": 100,
            "queue_type": self.queue_type,
            "prefix": self.prefix,
            "channels": self.channels,
        }
        return RabbitmqBroker(url or self.url, **{**arguments, **changes})

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """Open a channel, as any client."""
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            yield channel

    async def put(self, queue: str, body: bytes, properties: Basic.Properties | None = None) -> None:
        """Put a message into a queue, as another producer would: most give it no identity."""
        async with self.channel() as channel:
            underlay = await channel.get_underlay_channel()
            await underlay.basic_publish(body, routing_key=queue, properties=properties or Nameless())

    async def count(self, queue: str) -> int:
        """How many messages wait in a queue for a consumer."""
        async with self.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    async def take(self, queue: str, count: int = 1) -> list[AbstractIncomingMessage]:
        """Wait for messages in a queue and take them out."""
        found: list[AbstractIncomingMessage] = []
        async with self.channel() as channel, asyncio.timeout(PATIENCE):
            taken_from = await channel.get_queue(queue, ensure=False)
            while len(found) < count:
                if message := await taken_from.get(fail=False, no_ack=True):
                    found.append(message)
                else:
                    await asyncio.sleep(0.02)
        return found

    async def remove(self) -> None:
        """Take everything away that was declared."""
        topology = self.topology
        queues = [queue for each in topology.channels for queue in topology.queues(each)]
        async with self.channel() as channel:
            for queue in (*queues, topology.dead_queue, topology.logins):
                await channel.queue_delete(queue)
            for exchange in (topology.exchange, topology.dead_exchange):
                await channel.exchange_delete(exchange)

    async def exists(self, queue: str) -> bool:
        """Whether there is such a queue."""
        try:
            await self.count(queue)
        except ChannelNotFoundEntity:
            return False
        return True
