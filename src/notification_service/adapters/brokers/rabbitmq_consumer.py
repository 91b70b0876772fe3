"""Consumes the queues of a worker's channels, on a connection of its own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from notification_service.adapters.brokers.rabbitmq_inbox import (
    HOW_TO_SERVE,
    Inbox,
    Place,
    RabbitmqParcel,
    Source,
)
from notification_service.adapters.brokers.rabbitmq_link import Line
from notification_service.adapters.brokers.rabbitmq_topology import Topology
from notification_service.domain.channels import ChannelType


class Consumer:
    """Fills an inbox for each channel, over any number of lines one after the other."""

    def __init__(
        self, topology: Topology, channels: frozenset[ChannelType], *, prefetch: int, place: Place
    ) -> None:
        """Consume `channels`, with at most `prefetch` unsettled messages of each queue."""
        self._topology = topology
        self._inboxes = {channel: Inbox() for channel in sorted(channels)}
        self._prefetch = prefetch
        self._place = place
        self._sources: list[Source] = []

    async def receive(self, channel: ChannelType, limit: int) -> RabbitmqParcel:
        """Wait for something of a channel."""
        return await self._inboxes[channel].take(limit)

    @property
    def trouble(self) -> str | None:
        """Which queues the server doesn't serve, if any, and what to do about it."""
        hanging = [source.queue for source in self._sources if not source.served]
        return f"RabbitMQ does not serve {', '.join(hanging)}; {HOW_TO_SERVE}" if hanging else None

    @asynccontextmanager
    async def on(self, line: Line) -> AsyncGenerator[None]:
        """Consume on this line until the block ends."""
        if "email" in self._inboxes:
            await self._topology.declare_logins(line.connection)
        self._sources = [
            Source(queue, inbox, prefetch=self._prefetch, place=self._place)
            for channel, inbox in self._inboxes.items()
            for queue in self._queues(channel)
        ]
        tasks = [asyncio.create_task(source.run(line)) for source in self._sources]
        for task in tasks:
            task.add_done_callback(lambda ended: _pass_on(ended, line))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _queues(self, channel: ChannelType) -> tuple[str, ...]:
        own = self._topology.queues(channel)
        return (*own, self._topology.logins) if channel == "email" else own


def _pass_on(ended: asyncio.Task[None], line: Line) -> None:
    if not ended.cancelled() and (error := ended.exception()):
        line.give_up(error)
