"""What a worker has received of one channel, and how it is acknowledged."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage

from notification_service.adapters.brokers.rabbitmq_link import Line
from notification_service.adapters.brokers.rabbitmq_messages import (
    Arrival,
    Outgoing,
    is_nameless,
    named_copy,
    read_arrival,
)
from notification_service.adapters.brokers.rabbitmq_receipts import Receipts
from notification_service.domain.events import Letter, Parcel

SERVED_WITHIN = 5.0
"""Seconds a queue has to accept a consumer before it is said that it doesn't."""
ASKED_AGAIN_AFTER, LONGEST_PAUSE = 10.0, 300.0
FLUSHED_WITHIN = 2.0

HOW_TO_SERVE = "delete this queue in RabbitMQ, which is declared anew and filled from the database"

type Place = Callable[[Outgoing], Awaitable[bool]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitmqParcel(Parcel):
    """A parcel that knows what to acknowledge."""

    receipts: tuple[tuple["Source", int], ...] = field(default=(), repr=False)


class Inbox:
    """What waits for a worker of one channel; bounded by the prefetch of its sources."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: list[tuple[int, int, Source, Arrival]] = []
        self._numbers = itertools.count()
        self._some = asyncio.Event()

    def put(self, source: "Source", arrival: Arrival) -> None:
        """Add what has arrived, before what is less urgent."""
        heapq.heappush(self._waiting, (-arrival.priority, next(self._numbers), source, arrival))
        self._some.set()

    def forget(self, source: "Source") -> None:
        """Drop what came from a source whose line is gone: it comes again."""
        self._waiting = [each for each in self._waiting if each[2] is not source]
        heapq.heapify(self._waiting)

    async def take(self, limit: int) -> RabbitmqParcel:
        """Wait for something and return the most urgent; cancelled, it has taken nothing."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        taken = [heapq.heappop(self._waiting) for _ in range(min(limit, len(self._waiting)))]
        contents = [arrival.content for *_, arrival in taken]
        return RabbitmqParcel(
            ids=tuple(each for each in contents if not isinstance(each, Letter)),
            letters=tuple(each for each in contents if isinstance(each, Letter)),
            receipts=tuple((source, arrival.tag) for *_, source, arrival in taken),
        )


class Source:
    """One consumer of one queue on one line."""

    def __init__(self, queue: str, inbox: Inbox, *, prefetch: int, place: Place) -> None:
        """Fill `inbox` from `queue`; `place` puts a message into RabbitMQ."""
        self.queue = queue
        self.served = True
        self._inbox = inbox
        self._prefetch = prefetch
        self._place = place
        self._receipts = Receipts()
        self._naming: set[asyncio.Task[None]] = set()

    async def run(self, line: Line) -> None:
        """Consume until cancelled; what is settled until then is acknowledged, the rest comes again."""
        channel = await self._open(line)
        try:
            await self._receipts.acknowledge(channel)
        finally:
            for task in self._naming:
                task.cancel()
            self._inbox.forget(self)
            with suppress(Exception):
                async with asyncio.timeout(FLUSHED_WITHIN):
                    await self._receipts.flush(channel)

    def settled(self, tags: Iterable[int]) -> None:
        """Acknowledge them soon, if this is still the line they came from."""
        self._receipts.settle(tags)

    async def _open(self, line: Line) -> AbstractChannel:
        pause = ASKED_AGAIN_AFTER
        while True:
            try:
                async with asyncio.timeout(SERVED_WITHIN):
                    channel = await self._consume(line)
            except TimeoutError:
                self._tell()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)  # each attempt costs the server a channel
            else:
                self.served = True
                return channel

    async def _consume(self, line: Line) -> AbstractChannel:
        """Not by `Line.channel`: one that is given up because its queue hangs takes no other along."""
        opened = line.connection.channel()
        await opened.initialize()
        channel = await opened.get_underlay_channel()
        await channel.basic_qos(prefetch_count=self._prefetch)
        await channel.basic_consume(self.queue, self._arrived)
        channel.on_consumer_cancel_callbacks.add(lambda _: line.give_up(ConnectionError("queue deleted")))
        line.ends_with(opened)
        return channel

    def _tell(self) -> None:
        if self.served:
            log.error("queue_not_served", broker="rabbitmq", queue=self.queue, what_to_do=HOW_TO_SERVE)
        self.served = False

    async def _arrived(self, message: DeliveredMessage) -> None:
        arrival = read_arrival(message, self.queue)
        self._receipts.expect(arrival.tag)
        if is_nameless(arrival, message):
            task = asyncio.create_task(self._name(message, arrival))
            self._naming.add(task)
            task.add_done_callback(self._naming.discard)
        else:
            self._inbox.put(self, arrival)

    async def _name(self, message: DeliveredMessage, arrival: Arrival) -> None:
        """Put a copy with an identity in its place, so that it can be told when it comes a second time."""
        name = uuid4().hex
        if await self._place(named_copy(message, queue=self.queue, name=name)):
            self._receipts.settle([arrival.tag])
        else:
            self._inbox.put(self, arrival)
