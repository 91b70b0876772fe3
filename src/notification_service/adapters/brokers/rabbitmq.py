"""RabbitMQ is the queue: what is due is published to it with confirms, and claimed by who receives it."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity

from notification_service.adapters.brokers.rabbitmq_consumer import Consumer
from notification_service.adapters.brokers.rabbitmq_inbox import RabbitmqParcel
from notification_service.adapters.brokers.rabbitmq_link import NOT_YET, Line, Link, explain
from notification_service.adapters.brokers.rabbitmq_messages import Outgoing, announcement, burial, event
from notification_service.adapters.brokers.rabbitmq_publisher import Publisher
from notification_service.adapters.brokers.rabbitmq_silences import Silences
from notification_service.adapters.brokers.rabbitmq_topology import QueueType, Topology
from notification_service.domain.channels import CHANNEL_TYPES, ChannelType
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.events import Buried, Parcel
from notification_service.domain.notification import Notification, NotificationId, Status
from notification_service.domain.status_events import StatusEvent

ANSWERED_WITHIN = 1.5
COUNTED_WITHIN = 4.0
LOOKS = 5
"""How often one question for what is drained looks at a queue that isn't empty."""
BETWEEN_LOOKS = 0.02


class RabbitmqBroker:
    """`Broker` with RabbitMQ.

    It holds one connection for publishing and, while it consumes, another: a server under memory or disk
    pressure stops reading from those who publish, and acknowledgements must go on.
    """

    accepts_as = Status.PENDING

    def __init__(
        self,
        url: str,
        *,
        prefetch: int,
        queue_type: QueueType = "quorum",
        prefix: str = "",
        status_exchange: str | None = None,
        channels: Sequence[ChannelType] = CHANNEL_TYPES,
        name: str = "notification-service",
    ) -> None:
        """Use the server at `url`, an AMQP address.

        `prefetch` is how many unsettled messages of each queue a worker takes; `name` is what the
        connections are called at the server; `prefix` stands before the name of each queue and exchange.
        `status_exchange` is where status events go, if anywhere.
        """
        self._url = url
        self._name = name
        self._prefetch = prefetch
        self._topology = Topology(tuple(channels), queue_type, prefix, status_exchange)
        self._link = Link(url, name=name, topology=self._topology, use=self._publishing)
        self._line: Line | None = None
        self._publisher: Publisher | None = None
        self._silences = Silences()
        self._consumer: Consumer | None = None
        self._consumer_link: Link | None = None
        self._looked_on: Line | None = None

    async def __aenter__(self) -> Self:
        """See `Broker`."""
        await self._link.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        """See `Broker`."""
        await self._link.__aexit__(*details)

    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        """See `Broker.publish`."""
        confirmed = await self._put([self._event(each) for each in notifications])
        published = [each.id for each, safe in zip(notifications, confirmed, strict=True) if safe]
        if notifications and not published:
            raise BrokerUnavailableError(self._link.trouble or "RabbitMQ confirmed nothing; its log says why")
        return frozenset(published)

    async def wake(self, channels: Iterable[ChannelType]) -> None:
        """See `Broker.wake`: a relay publishes it soon, and that wakes workers."""

    @asynccontextmanager
    async def consuming(self, channels: frozenset[ChannelType]) -> AsyncGenerator[None]:
        """See `Broker.consuming`."""
        consumer = Consumer(self._topology, channels, prefetch=self._prefetch, place=self._place)
        link = Link(self._url, name=f"{self._name} worker", topology=self._topology, use=consumer.on)
        async with link:
            self._consumer, self._consumer_link = consumer, link
            try:
                yield
            finally:
                self._consumer = self._consumer_link = None

    async def receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        """See `Broker.receive`."""
        if self._consumer is None:
            raise RuntimeError("receive() belongs into a consuming() block")
        return await self._consumer.receive(channel, limit)

    async def settled(self, parcel: Parcel) -> None:
        """See `Broker.settled`: acknowledged soon, together with others."""
        if isinstance(parcel, RabbitmqParcel):
            for source, tag in parcel.receipts:
                source.settled([tag])

    async def drained(self) -> frozenset[ChannelType]:
        """See `Broker.drained`: the queues of a channel were seen empty of what no worker has received.

        A new connection has to see it twice: just restarted, a server may call a queue empty that it hasn't
        read yet.
        """
        line = self._connected()
        first, self._looked_on = self._looked_on is not line, line
        try:
            empty = await self._empty(line)
        except (AMQPError, ChannelInvalidStateError, OSError) as error:  # TimeoutError is an OSError
            if isinstance(
                error, ChannelNotFoundEntity
            ):  # a queue is gone: on a new line all is declared anew
                line.give_up(error)
            raise BrokerUnavailableError(explain(error)) from None
        return frozenset() if first else empty

    async def bury(self, dead: Sequence[Buried]) -> None:
        """See `Broker.bury`."""
        confirmed = await self._put([burial(each, exchange=self._topology.dead_exchange) for each in dead])
        if not all(confirmed):
            raise BrokerUnavailableError(self._link.trouble)

    async def announce(self, events: Sequence[StatusEvent]) -> frozenset[int]:
        """See `Announcer.announce`: safe in every queue that is bound for it, be it none."""
        if not (exchange := self._topology.status_exchange):
            raise RuntimeError("announce() needs an exchange of status events")
        confirmed = await self._put([announcement(each, exchange=exchange) for each in events])
        return frozenset(each.sequence for each, safe in zip(events, confirmed, strict=True) if safe)

    async def check(self) -> str:
        """See `Broker.check`."""
        line = self._connected()
        try:
            async with asyncio.timeout(ANSWERED_WITHIN), line.connection.channel() as channel:
                await channel.declare_exchange(self._topology.exchange, passive=True)
        except Exception as error:
            raise BrokerUnavailableError(explain(error)) from None
        if trouble := self._consuming_trouble():
            raise BrokerUnavailableError(trouble)
        return f"{line.server}, cluster {line.cluster}"

    def _event(self, notification: Notification) -> Outgoing:
        key = self._topology.routing_key(notification.channel_type, notification.priority)
        return event(notification, exchange=self._topology.exchange, routing_key=key)

    @asynccontextmanager
    async def _publishing(self, line: Line) -> AsyncGenerator[None]:
        self._line, self._publisher = line, Publisher(line, self._silences)
        try:
            yield
        finally:
            self._line = self._publisher = None

    def _connected(self) -> Line:
        if self._line is None:
            raise BrokerUnavailableError(self._link.trouble or NOT_YET)
        return self._line

    async def _put(self, messages: Sequence[Outgoing]) -> list[bool]:
        if self._publisher is None:
            raise BrokerUnavailableError(self._link.trouble or NOT_YET)
        return await self._publisher.publish(messages)

    async def _place(self, message: Outgoing) -> bool:
        with suppress(BrokerUnavailableError):
            return all(await self._put([message]))
        return False

    def _consuming_trouble(self) -> str | None:
        if self._consumer is None or self._consumer_link is None:
            return None
        return self._consumer_link.trouble or self._consumer.trouble

    async def _empty(self, line: Line) -> frozenset[ChannelType]:
        """Return the channels whose queues are all seen empty at some moment of this call."""
        async with asyncio.timeout(COUNTED_WITHIN), line.connection.channel() as channel:
            full = {queue: each for each in self._topology.channels for queue in self._topology.queues(each)}
            for look in range(LOOKS):
                await asyncio.sleep(BETWEEN_LOOKS if look else 0)
                for queue in list(full):
                    found = await channel.declare_queue(queue, passive=True)
                    if not found.declaration_result.message_count:
                        del full[queue]
                if not full:
                    break
        return frozenset(self._topology.channels).difference(full.values())
