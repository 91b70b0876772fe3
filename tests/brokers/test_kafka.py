"""Kafka keeps the port's promises, on the real server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from notification_service.adapters.brokers.kafka import KafkaBroker
from notification_service.adapters.brokers.kafka_access import KafkaAccess
from notification_service.domain.channels import ChannelType
from tests.brokers.conformance import CONSUMED, PATIENCE
from tests.brokers.conformance_of_queues import QueueConformance
from tests.services import free_port
from tests.services.kafka import KafkaServer
from tests.stores.making import a_notification


class KafkaConformance(QueueConformance):
    """Topics and a group of its own for each test."""

    fills_in = 4.0
    topic: str

    @pytest.fixture(autouse=True)
    def server(self, kafka_server: KafkaServer) -> None:
        self.bootstrap = kafka_server.bootstrap
        self.name = uuid.uuid4().hex

    def make(self) -> KafkaBroker:
        return a_broker(self.bootstrap, self.name, topic=self.topic)

    def make_out_of_reach(self) -> KafkaBroker:
        access = KafkaAccess(
            bootstrap=f"127.0.0.1:{free_port()}",
            security_protocol="SASL_PLAINTEXT",
            sasl_username="ann",
            sasl_password="geheim",
        )
        return a_broker(access, self.name, topic=self.topic)

    async def put(self, channel: ChannelType, body: bytes, *, headers: dict[str, str] | None = None) -> None:
        topic = self.topic.format(name=self.name, channel=channel)
        pairs = [(name, value.encode()) for name, value in (headers or {}).items()]
        async with a_producer(self.bootstrap) as producer:
            await producer.send_and_wait(topic, body, headers=pairs)

    async def dead_letters(self, count: int) -> Sequence[tuple[bytes, str]]:
        records = await read(self.bootstrap, f"{self.name}.DLQ", count)
        return [(each.value, dict(each.headers)["dlq-reason"].decode()) for each in records]


class TestOneTopic(KafkaConformance):
    topic = "{name}"

    async def test_a_backlog_that_nobody_consumes_is_not_drained(self) -> None:
        """Nor is any other channel, since they share the topic."""
        async with self.connected() as broker:
            await broker.publish([a_notification()])
            await broker.drained()

            assert await broker.drained() == frozenset()


class TestTopicOfEachChannel(KafkaConformance):
    topic = "{name}.{channel}"


def a_broker(
    access: KafkaAccess | str,
    name: str,
    *,
    topic: str = "{name}",
    channels: frozenset[ChannelType] = CONSUMED,
    partitions: int = 3,
) -> KafkaBroker:
    return KafkaBroker(
        access if isinstance(access, KafkaAccess) else KafkaAccess(bootstrap=access),
        channels=channels,
        topic=topic.replace("{name}", name),
        dlq_topic=f"{name}.DLQ",
        partitions=partitions,
        replication=1,
        group=f"group-{name}",
    )


@asynccontextmanager
async def a_producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """Another program that writes."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        yield producer


async def read(bootstrap: str, topic: str, count: int) -> list[Any]:
    """Wait for so many messages of a topic."""
    records: list[Any] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(PATIENCE):
        while len(records) < count:
            for some in (await consumer.getmany(timeout_ms=200)).values():
                records += some
    return records
