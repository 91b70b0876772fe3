"""Topics, and how much of them the workers have finished: what neither producer nor consumer knows."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, NoError, TopicAlreadyExistsError, for_code

from notification_service.adapters.brokers.kafka_access import OUTAGES, KafkaAccess, bounded, close_consumer

DEADLINE = timedelta(seconds=5)
"""For a whole question, connecting included."""
AGAIN = timedelta(seconds=0.1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What one partition holds, and how far the group has come; None when it has not begun."""

    first: int
    end: int
    committed: int | None

    def passed(self, end: int) -> bool:
        """Whether the group is done with everything before `end`."""
        return self.first >= end if self.committed is None else self.committed >= end


@dataclass(slots=True)
class _Clients:
    admin: AIOKafkaAdminClient
    reader: AIOKafkaConsumer
    """Without a group: it only asks for offsets."""

    async def close(self) -> None:
        await bounded(self.admin.close())
        await close_consumer(self.reader)


class KafkaAdmin:
    """Asks and arranges. Each call is bounded in time and raises `BrokerUnavailableError`."""

    def __init__(self, access: KafkaAccess, *, group: str, partitions: int, replication: int) -> None:
        """Topics that are missing get `partitions`, each kept `replication` times."""
        self._access = access
        self._group = group
        self._partitions = partitions
        self._replication = replication
        self._clients: _Clients | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections; a later call makes new ones."""
        clients, self._clients = self._clients, None
        if clients:
            await clients.close()

    async def cluster(self, *, deadline: timedelta) -> str:
        """Return a line about the cluster."""
        async with self._asking(deadline) as clients:
            facts = await clients.admin.describe_cluster()
        brokers = len(facts["brokers"])
        return f"Kafka, {brokers} broker{'s' if brokers > 1 else ''}, cluster {facts['cluster_id']}"

    async def make_missing(self, topics: Sequence[str]) -> None:
        """Create the topics that don't exist."""
        async with self._asking() as clients:
            await self._make_missing(clients.admin, topics)

    async def extents(self, topics: Sequence[str]) -> dict[TopicPartition, Extent]:
        """Return what each partition of the topics holds, creating the topics that don't exist."""
        async with self._asking() as clients:
            places = await self._make_missing(clients.admin, topics)
            first = await clients.reader.beginning_offsets(places)
            committed = await self._committed(clients.admin, places)
            # The end last: never is more committed than it holds.
            end = await clients.reader.end_offsets(places)
        return {
            place: Extent(first=first[place], end=end[place], committed=_known(committed.get(place)))
            for place in places
        }

    @asynccontextmanager
    async def _asking(self, deadline: timedelta = DEADLINE) -> AsyncGenerator[_Clients]:
        """Bound the block; after a failure the next one gets new connections, to the first addresses."""
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                yield await self._connected()
        except OUTAGES as error:
            await self.close()
            raise self._access.unavailable(error) from error

    async def _connected(self) -> _Clients:
        async with self._lock:
            if self._clients is None:
                arguments = self._access.arguments(request_timeout=DEADLINE)
                clients = _Clients(AIOKafkaAdminClient(**arguments), AIOKafkaConsumer(**arguments))
                try:
                    await clients.admin.start()
                    await clients.reader.start()
                except BaseException:
                    await clients.close()
                    raise
                self._clients = clients
            return self._clients

    async def _committed(self, admin: AIOKafkaAdminClient, places: list[TopicPartition]) -> dict[Any, Any]:
        while True:
            try:
                committed = await admin.list_consumer_group_offsets(self._group, partitions=places)
            except GroupCoordinatorNotAvailableError:  # the first question makes the cluster appoint one
                await asyncio.sleep(AGAIN.total_seconds())
            else:
                return dict(committed)

    async def _make_missing(self, admin: AIOKafkaAdminClient, topics: Sequence[str]) -> list[TopicPartition]:
        """Return the partitions of the topics that existed already."""
        # All of them: asked for by name, a cluster may make a missing one after its own fashion.
        known = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
        if missing := [topic for topic in topics if topic not in known]:
            await self._create(admin, missing)
        return [
            TopicPartition(topic, partition["partition"])
            for topic in topics
            for partition in known.get(topic, ())
        ]

    async def _create(self, admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
        new = [NewTopic(topic, self._partitions, self._replication) for topic in topics]
        answer = await admin.create_topics(new)
        for each in answer.to_object()["topic_errors"]:
            error = for_code(each["error_code"])
            if error is NoError:
                log.info("topic_created", topic=each["topic"], partitions=self._partitions)
            elif error is not TopicAlreadyExistsError:
                raise error(each["topic"])


def _known(committed: object) -> int | None:
    offset = getattr(committed, "offset", -1)
    return offset if offset >= 0 else None
