"""Writes to Kafka in batches, by a producer that is replaced when anything goes wrong with it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from random import randrange
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from notification_service.adapters.brokers.kafka_access import OUTAGES, KafkaAccess, Outage, bounded
from notification_service.adapters.brokers.kafka_admin import KafkaAdmin
from notification_service.domain.errors import BrokerUnavailableError

PATIENCE = timedelta(seconds=5)
"""For one call, whoever its caller is."""
STALL = timedelta(seconds=2)
"""Without an answer for so long, the producer is given up, and callers are told at once."""
LOOK = timedelta(seconds=0.25)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=0.1), timedelta(seconds=0.8)
BATCH_BYTES = 262_144
"""Well below the megabyte that brokers take at most."""

type Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Record[Name: Hashable]:
    """One message to be written."""

    name: Name
    """Whereby the caller knows it."""
    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[Header]


class KafkaPublisher:
    """Idempotent, acknowledged by all replicas, never more than two batches waiting for each partition.

    A producer of aiokafka goes on for ever with what it was given, loses count when it drops a batch, and
    knows only the addresses it last heard of. So it lives as long as all goes well: after a failed batch, a
    topic gone or `STALL` without an answer it is thrown away, and a new one begins where the first began.
    """

    def __init__(
        self, access: KafkaAccess, admin: KafkaAdmin, outage: Outage, *, topics: Sequence[str]
    ) -> None:
        """Write to `topics`, which are made where they are missing."""
        self._access = access
        self._admin = admin
        self._outage = outage
        self._topics = topics
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._broken = asyncio.Event()
        self._flying: dict[asyncio.Future[Any], float] = {}
        self._reason = "Kafka is not connected yet"

    async def run(self) -> None:
        """Keep a producer at hand until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    producer = await self._connect()
            except Exception as error:  # whatever it is, there is nobody else who would try again
                self._lost(error)
                await asyncio.sleep(pause.total_seconds())
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            self._outage.reached("publisher")
            try:
                self._producer = producer
                self._connected.set()
                await self._until_broken(producer)
            finally:
                self._producer = None
                self._connected.clear()
                for flight in list(self._flying):
                    flight.cancel()
                await _abandon(producer)

    async def write[Name: Hashable](self, records: Sequence[Record[Name]]) -> frozenset[Name]:
        """Write the records and return the names of those that are safe.

        Raises `BrokerUnavailableError` when none is, at once while there is no connection.
        """
        flights: dict[asyncio.Future[Any], list[Name]] = {}
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                for topic, partition, batch, names in self._batches(records):
                    producer = self._at_hand()
                    sent = await producer.send_batch(batch, topic, partition=partition)
                    flights[self._watched(sent)] = names
                if flights:
                    await asyncio.wait(flights)
        except (*OUTAGES, BrokerUnavailableError) as error:
            failure = error
        landed = {each: each.exception() for each in flights if each.done() and not each.cancelled()}
        safe = frozenset(name for flight, error in landed.items() if not error for name in flights[flight])
        if records and not safe:
            failure = failure or next(iter(landed.values()), None)
            raise self._access.unavailable(failure or TimeoutError()) from failure
        return safe

    async def ready(self, *, within: timedelta) -> None:
        """Return once there is a producer; raises `BrokerUnavailableError` when that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await self._connected.wait()
        self._at_hand()

    def _at_hand(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise BrokerUnavailableError(self._reason)
        return self._producer

    async def _connect(self) -> AIOKafkaProducer:
        await self._admin.make_missing(self._topics)
        producer = AIOKafkaProducer(
            **self._access.arguments(request_timeout=PATIENCE),
            enable_idempotence=True,
            acks="all",
            max_batch_size=BATCH_BYTES,
        )
        try:
            await producer.start()
            for topic in self._topics:
                await producer.partitions_for(topic)
        except BaseException:
            await _abandon(producer)
            raise
        self._broken.clear()
        return producer

    async def _until_broken(self, producer: AIOKafkaProducer) -> None:
        while not self._broken.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK.total_seconds()):
                    await self._broken.wait()
            self._look(producer)

    def _look(self, producer: AIOKafkaProducer) -> None:
        oldest = min(self._flying.values(), default=time.monotonic())
        if time.monotonic() - oldest > STALL.total_seconds():
            self._break(TimeoutError())
        known = producer.client.cluster.topics()
        if missing := [topic for topic in self._topics if topic not in known]:
            self._break(KafkaError(f"topic {missing[0]} is gone"))

    def _break(self, error: BaseException) -> None:
        self._lost(error)
        self._broken.set()

    def _lost(self, error: BaseException) -> None:
        self._reason = str(self._access.unavailable(error))
        self._outage.lost("publisher", self._reason)

    def _watched(self, flight: asyncio.Future[Any]) -> asyncio.Future[Any]:
        self._flying[flight] = time.monotonic()
        flight.add_done_callback(self._landed)
        return flight

    def _landed(self, flight: asyncio.Future[Any]) -> None:
        del self._flying[flight]
        # Any failure costs the producer its place in the sequence of the partition.
        if not flight.cancelled() and (error := flight.exception()) and not self._broken.is_set():
            self._break(error)

    def _batches[Name: Hashable](
        self, records: Sequence[Record[Name]]
    ) -> Iterator[tuple[str, int, Any, list[Name]]]:
        """Pack the records by partition, and say which are in each pack."""
        by_partition: defaultdict[tuple[str, int], list[Record[Name]]] = defaultdict(list)
        for record in records:
            by_partition[record.topic, self._partition(record)].append(record)
        for (topic, partition), together in by_partition.items():
            for batch, names in self._packed(together):
                yield topic, partition, batch, names

    def _packed[Name: Hashable](self, records: Sequence[Record[Name]]) -> Iterator[tuple[Any, list[Name]]]:
        batch, names = self._at_hand().create_batch(), list[Name]()
        for record in records:
            if not _appended(batch, record):
                yield batch, names
                batch, names = self._at_hand().create_batch(), []
                _appended(batch, record)
            names.append(record.name)
        batch.close()
        yield batch, names

    def _partition(self, record: Record[Any]) -> int:
        known = self._at_hand().client.cluster.partitions_for_topic(record.topic)
        if not known:
            raise BrokerUnavailableError("a topic is gone and is being made again")
        return randrange(len(known)) if record.key is None else _hash(record.key) % len(known)  # noqa: S311


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    """As Kafka's own clients place a key."""
    return int(murmur2(key)) & 0x7FFFFFFF


def _appended(batch: Any, record: Record[Any]) -> bool:
    headers = record.headers
    added = batch.append(timestamp=None, key=record.key, value=record.value, headers=headers)
    return added is not None


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End a producer together with what it holds, which `stop` would go on sending for ever."""
    if (sending := producer._sender.sender_task) is not None:
        sending.cancel()
        await bounded(sending)
    await bounded(producer.client.close())
    producer._closed = True
