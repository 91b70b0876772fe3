"""Status events on a Kafka topic."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, override

import pytest
from aiokafka import AIOKafkaConsumer

from notification_service.adapters.brokers.kafka import KafkaBroker
from notification_service.adapters.brokers.kafka_access import KafkaAccess
from notification_service.domain.status_events import StatusEvent
from tests.brokers.conformance_of_announcing import (
    AnnouncingConformance,
    Ear,
    Heard,
    OutageConformance,
    Stage,
)
from tests.services import free_port
from tests.services.kafka import KafkaServer, OwnKafka


class OnKafka(Stage):
    """A topic of its own for each test."""

    bootstrap: str
    name: str

    @override
    def make(self) -> KafkaBroker:
        return self._broker(self.bootstrap)

    @override
    def make_out_of_reach(self) -> KafkaBroker:
        return self._broker(f"127.0.0.1:{free_port()}")

    @override
    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Ear]:
        topic = f"{self.name}.status"
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            yield KafkaEar(consumer)

    @override
    def settings(self) -> dict[str, str]:
        return {
            "NS_BROKER": "kafka",
            "NS_KAFKA_BOOTSTRAP": self.bootstrap,
            "NS_KAFKA_TOPIC": self.name,
            "NS_KAFKA_DLQ_TOPIC": f"{self.name}.DLQ",
            "NS_KAFKA_PARTITIONS": "3",
            "NS_STATUS_EVENTS": f"{self.name}.status",
        }

    @override
    def address(self, event: StatusEvent) -> str:
        """So that what is told of a notification stays in one partition."""
        return str(event.notification_id)

    def _broker(self, bootstrap: str) -> KafkaBroker:
        return KafkaBroker(
            KafkaAccess(bootstrap=bootstrap),
            channels=frozenset({"email"}),
            topic=self.name,
            dlq_topic=f"{self.name}.DLQ",
            partitions=3,
            replication=1,
            status_topic=f"{self.name}.status",
        )


class TestAnnouncing(OnKafka, AnnouncingConformance):
    """On a server that is to be left running."""

    @pytest.fixture(autouse=True)
    def _on_a_server(self, kafka_server: KafkaServer) -> None:
        self.bootstrap, self.name = kafka_server.bootstrap, uuid.uuid4().hex


class TestAnnouncingInOutages(OnKafka, OutageConformance):
    """On a server of its own."""

    @pytest.fixture(autouse=True)
    def _on_its_own_server(self, own_kafka: OwnKafka) -> None:
        self.server, self.bootstrap, self.name = own_kafka, own_kafka.bootstrap, uuid.uuid4().hex

    @override
    def take_away(self) -> None:
        """Killed with all that it did not write."""
        self.server.kill()

    @override
    def bring_back(self) -> None:
        self.server.start()


class KafkaEar:
    """Reads a topic from its beginning."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def next(self) -> Heard:
        record: Any = await self._consumer.getone()
        headers = {name: value.decode() for name, value in record.headers}
        return Heard(json.loads(record.value), headers, record.key.decode())
