"""RabbitMQ, the real server: what every broker promises."""

from collections.abc import AsyncIterator, Sequence
from typing import override

import pytest

from notification_service.adapters.brokers.rabbitmq_topology import QueueType
from notification_service.domain.channels import ChannelType
from notification_service.ports import Broker
from tests.brokers.conformance_of_queues import QueueConformance
from tests.brokers.rabbitmq_rig import Nameless, Rig
from tests.services import free_port
from tests.services.rabbitmq import RabbitmqServer


class TestConformance(QueueConformance):
    """`ports.Broker`, on quorum queues."""

    queue_type: QueueType = "quorum"

    @pytest.fixture(autouse=True)
    async def _on_a_server(self, rabbitmq_server: RabbitmqServer) -> AsyncIterator[None]:
        self.rig = Rig(rabbitmq_server.url, self.queue_type)
        yield
        await self.rig.remove()

    @override
    def make(self) -> Broker:
        return self.rig.broker()

    @override
    def make_out_of_reach(self) -> Broker:
        return self.rig.broker(f"amqp://ann:geheim@127.0.0.1:{free_port()}/")

    @override
    async def put(self, channel: ChannelType, body: bytes, *, headers: dict[str, str] | None = None) -> None:
        await self.rig.put(self.rig.topology.queue(channel), body, Nameless(headers=dict(headers or {})))

    @override
    async def dead_letters(self, count: int) -> Sequence[tuple[bytes, str]]:
        dead = await self.rig.take(self.rig.topology.dead_queue, count)
        return [(each.body, str(each.headers["dlq-reason"])) for each in dead]


class TestConformanceOfClassicQueues(TestConformance):
    """`ports.Broker`, on classic queues."""

    queue_type: QueueType = "classic"
