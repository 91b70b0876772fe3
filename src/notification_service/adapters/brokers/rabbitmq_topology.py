"""What stands in RabbitMQ: exchanges, queues and bindings, and how a notification finds its queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aio_pika.abc import AbstractChannel, AbstractConnection, ExchangeType
from aio_pika.exceptions import ChannelPreconditionFailed

from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import BrokerUnavailableError

type QueueType = Literal["quorum", "classic"]
type Arguments = Mapping[str, str | int]

HIGH_FROM, LOW_UP_TO = 8, 3
"""Priorities from and up to which a notification takes another queue than the channel's ordinary one."""
DELIVERY_LIMIT = 100
"""Deliveries of one message, counted by quorum queues, after which it is buried: it may be what kills
workers. Every worker that leaves or dies counts one for what it had at hand, so it must not be small."""
LONGEST_DEAD_QUEUE = 100_000
"""Nobody has to read the dead-letter queue; its oldest go first. The database keeps every dead letter."""
DECLARED_WITHIN = 5.0
LOGINS = "email_queue"
"""Where other producers put logins: a durable classic queue that they may have declared already."""


class QueueDiffersError(BrokerUnavailableError):
    """a queue or exchange exists in RabbitMQ with other arguments"""


@dataclass(frozen=True, slots=True)
class Topology:
    """The names, and what is declared under them; `prefix` stands before each name."""

    channels: tuple[ChannelType, ...]
    queue_type: QueueType
    prefix: str = ""
    status_exchange: str | None = None
    """The topic exchange of status events; its name belongs to those who bind to it, and has no prefix."""

    @property
    def exchange(self) -> str:
        """The direct exchange that everything due is published to."""
        return f"{self.prefix}notifications.direct"

    @property
    def dead_exchange(self) -> str:
        """Where the dead are published to, by us and by the queues."""
        return f"{self.prefix}notifications.dead"

    @property
    def dead_queue(self) -> str:
        """Where the dead are shown."""
        return f"{self.prefix}failed.queue"

    @property
    def logins(self) -> str:
        """The queue of other producers' logins."""
        return f"{self.prefix}{LOGINS}"

    def routing_keys(self, channel: ChannelType) -> tuple[str, str, str]:
        """Return those of a channel, the most urgent first; a queue is called like its key."""
        return (f"{channel}.high", channel, f"{channel}.low")

    def routing_key(self, channel: ChannelType, priority: int) -> str:
        """Return the one for a notification."""
        high, middle, low = self.routing_keys(channel)
        if priority >= HIGH_FROM:
            return high
        return low if priority <= LOW_UP_TO else middle

    def queue(self, routing_key: str) -> str:
        """Return the name of the queue bound to a routing key."""
        return f"{self.prefix}{routing_key}.queue"

    def queues(self, channel: ChannelType) -> tuple[str, ...]:
        """Return the queues of a channel's own work, the most urgent first."""
        return tuple(self.queue(key) for key in self.routing_keys(channel))

    async def declare(self, connection: AbstractConnection) -> None:
        """Declare everything; raises `QueueDiffersError` where something else stands under a name."""
        async with connection.channel() as channel:
            await self._exchange(channel, self.exchange, ExchangeType.DIRECT)
            await self._exchange(channel, self.dead_exchange, ExchangeType.FANOUT)
            if self.status_exchange:
                await self._exchange(channel, self.status_exchange, ExchangeType.TOPIC)
            await self._queue(channel, self.dead_queue, self._kept_short, self.dead_exchange, "")
            for key in (key for each in self.channels for key in self.routing_keys(each)):
                await self._queue(channel, self.queue(key), self._buried_at_last, self.exchange, key)

    async def declare_logins(self, connection: AbstractConnection) -> None:
        """Declare the logins' queue unless its producers already did, in whatever form."""
        async with connection.channel() as channel:
            try:
                await channel.declare_queue(self.logins, durable=True, timeout=DECLARED_WITHIN)
            except ChannelPreconditionFailed:
                return

    @property
    def _buried_at_last(self) -> Arguments:
        limit: Arguments = {"x-delivery-limit": DELIVERY_LIMIT} if self.queue_type == "quorum" else {}
        return {"x-queue-type": self.queue_type, "x-dead-letter-exchange": self.dead_exchange, **limit}

    @property
    def _kept_short(self) -> Arguments:
        return {"x-queue-type": self.queue_type, "x-max-length": LONGEST_DEAD_QUEUE}

    async def _queue(
        self, channel: AbstractChannel, name: str, arguments: Arguments, exchange: str, routing_key: str
    ) -> None:
        try:
            queue = await channel.declare_queue(
                name, durable=True, arguments=dict(arguments), timeout=DECLARED_WITHIN
            )
        except ChannelPreconditionFailed as error:
            raise QueueDiffersError(self._differs(name, error)) from None
        await queue.bind(exchange, routing_key, timeout=DECLARED_WITHIN)

    async def _exchange(self, channel: AbstractChannel, name: str, kind: ExchangeType) -> None:
        try:
            await channel.declare_exchange(name, kind, durable=True, timeout=DECLARED_WITHIN)
        except ChannelPreconditionFailed as error:
            raise QueueDiffersError(self._differs(name, error)) from None

    def _differs(self, name: str, error: Exception) -> str:
        if name == self.status_exchange:
            return (
                f"RabbitMQ has '{name}', and not as a durable topic exchange ({error}); choose another name "
                "for NS_STATUS_EVENTS"
            )
        return (
            f"RabbitMQ has '{name}' with other arguments ({error}); delete it there once it is empty, and it "
            f"is declared anew, or choose NS_RABBITMQ_QUEUE_TYPE (now {self.queue_type}) or "
            "NS_RABBITMQ_PREFIX so that they don't meet"
        )
