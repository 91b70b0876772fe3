"""Kafka as the queue: an idempotent producer, one consumer group, commits of what is finished."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from aiokafka import TopicPartition

from notification_service.adapters.brokers.kafka_access import KafkaAccess, Outage, ended
from notification_service.adapters.brokers.kafka_admin import KafkaAdmin
from notification_service.adapters.brokers.kafka_consumer import KafkaMember
from notification_service.adapters.brokers.kafka_inbox import Inbox, KafkaParcel
from notification_service.adapters.brokers.kafka_producer import Header, KafkaPublisher, Record
from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import BrokerUnavailableError, NotificationServiceError
from notification_service.domain.events import Buried, Parcel, write_event
from notification_service.domain.notification import Notification, NotificationId, Status
from notification_service.domain.status_events import StatusEvent, write_status_event

CHANNEL = "{channel}"
"""In the topic's name it stands for the channel, and gives each channel a topic of its own."""
ANSWER_DEADLINE, READY_DEADLINE = timedelta(seconds=1.5), timedelta(seconds=0.5)
"""Two seconds together."""


class SharedTopicError(NotificationServiceError):
    """one topic of all channels can't be consumed for some of them; put {channel} into NS_KAFKA_TOPIC"""

    code = "shared_topic"


class KafkaBroker:
    """`Broker` on a Kafka cluster.

    Messages of a user keep to one partition. Parcels may be settled in any order; an offset is committed once
    everything before it in its partition is settled. In a topic of all channels, a channel that stands still
    ends up holding the others: once a partition has `MOST_UNFINISHED` of it, nothing more is fetched there.
    """

    accepts_as = Status.PENDING

    def __init__(
        self,
        access: KafkaAccess,
        *,
        channels: frozenset[ChannelType],
        topic: str,
        dlq_topic: str,
        partitions: int,
        replication: int,
        status_topic: str | None = None,
        group: str = "notification-worker",
    ) -> None:
        """`channels` are those that the workers of this deployment serve together.

        `status_topic` is where status events go, if anywhere.
        """
        self._topics: Mapping[ChannelType, str] = {
            channel: topic.replace(CHANNEL, channel) for channel in sorted(channels)
        }
        self._is_shared = CHANNEL not in topic
        self._dlq_topic = dlq_topic
        self._access = access
        self._group = group
        self._outage = Outage()
        self._admin = KafkaAdmin(access, group=group, partitions=partitions, replication=replication)
        self._status_topic = status_topic
        topics = [*self._topics_of(channels), dlq_topic, *([status_topic] if status_topic else [])]
        self._publisher = KafkaPublisher(access, self._admin, self._outage, topics=topics)
        self._publishing: asyncio.Task[None] | None = None
        self._inbox = Inbox(self._channel_of)
        self._member: KafkaMember | None = None
        self._ends: dict[TopicPartition, int] | None = None

    async def __aenter__(self) -> Self:
        """See `Broker`."""
        self._publishing = asyncio.create_task(self._publisher.run())
        return self

    async def __aexit__(self, *details: object) -> None:
        """See `Broker`."""
        if self._publishing:
            await ended(self._publishing)
        await self._admin.close()

    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        """See `Broker.publish`: confirmed by all replicas."""
        return await self._publisher.write(
            [self._record(each) for each in notifications if each.channel_type in self._topics]
        )

    async def wake(self, channels: Iterable[ChannelType]) -> None:
        """See `Broker.wake`: the relay finds it."""

    @asynccontextmanager
    async def consuming(self, channels: frozenset[ChannelType]) -> AsyncGenerator[None]:
        """See `Broker.consuming`; raises `SharedTopicError` for some channels of a topic of all."""
        if self._is_shared and not channels >= self._topics.keys():
            raise SharedTopicError
        self._inbox.open(channels)
        self._member = KafkaMember(
            self._access,
            self._admin,
            self._outage,
            self._inbox,
            topics=self._topics_of(channels),
            group=self._group,
        )
        consuming = asyncio.create_task(self._member.run())
        try:
            yield
        finally:
            await ended(consuming)
            self._member = None

    async def receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        """See `Broker.receive`."""
        return await self._inbox.take(channel, limit=limit)

    async def settled(self, parcel: Parcel) -> None:
        """See `Broker.settled`."""
        if isinstance(parcel, KafkaParcel):
            self._inbox.settle(parcel)
        if self._member:
            self._member.relieved()

    async def drained(self) -> frozenset[ChannelType]:
        """See `Broker.drained`: where the group has committed what the last call saw as the end."""
        before, self._ends = self._ends, None
        extents = await self._admin.extents(self._topics_of(self._topics))
        self._ends = {place: extent.end for place, extent in extents.items()}
        if before is None:
            return frozenset()
        held = {
            place.topic
            for place, end in before.items()
            if place in extents and not extents[place].passed(end)
        }
        return frozenset(channel for channel, topic in self._topics.items() if topic not in held)

    async def bury(self, dead: Sequence[Buried]) -> None:
        """See `Broker.bury`."""
        records = [
            Record(number, self._dlq_topic, each.key, each.body, _dlq_headers(each))
            for number, each in enumerate(dead)
        ]
        if len(await self._publisher.write(records)) < len(records):
            raise BrokerUnavailableError

    async def announce(self, events: Sequence[StatusEvent]) -> frozenset[int]:
        """See `Announcer.announce`: those of one notification keep to one partition."""
        if self._status_topic is None:
            raise RuntimeError("announce() needs a topic of status events")
        return await self._publisher.write([_announcement(each, self._status_topic) for each in events])

    async def check(self) -> str:
        """See `Broker.check`: the cluster answers and can be written to."""
        line = await self._admin.cluster(deadline=ANSWER_DEADLINE)
        await self._publisher.ready(within=READY_DEADLINE)
        return line

    def _topics_of(self, channels: Iterable[ChannelType]) -> list[str]:
        return sorted({self._topics[channel] for channel in channels if channel in self._topics})

    def _channel_of(self, topic: str) -> ChannelType | None:
        if self._is_shared:
            return None
        return next((channel for channel, name in self._topics.items() if name == topic), None)

    def _record(self, notification: Notification) -> Record[NotificationId]:
        trail = notification.trail
        return Record(
            notification.id,
            self._topics[notification.channel_type],
            notification.user_id.encode(),
            write_event(notification),
            [
                ("priority", b"%d" % notification.priority),
                *_headers(trail.correlation_id, trail.traceparent),
            ],
        )


def _announcement(event: StatusEvent, topic: str) -> Record[int]:
    headers = _headers(event.correlation_id, event.traceparent)
    key = str(event.notification_id).encode()
    return Record(event.sequence, topic, key, write_status_event(event), headers)


def _headers(correlation_id: str | None, traceparent: str | None) -> list[Header]:
    headers = [("content-type", b"application/json")]
    if correlation_id:
        headers.append(("correlation-id", correlation_id.encode()))
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def _dlq_headers(dead: Buried) -> list[Header]:
    return [("dlq-reason", dead.reason.encode()), *_headers(dead.correlation_id, dead.traceparent)]
