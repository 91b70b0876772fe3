"""What one worker process does: deliver, relay, sweep, and watch the backlog."""

import asyncio
from collections.abc import Iterable
from enum import StrEnum

from notification_service.application.announce import Announce
from notification_service.application.deliver import Deliver
from notification_service.application.relay import Relay
from notification_service.application.sweep import Sweep
from notification_service.domain.channels import CHANNEL_TYPES, ChannelType


class Duty(StrEnum):
    """What a worker is for."""

    ALL = "all"
    DELIVER = "deliver"
    RELAY = "relay"
    """Publish, sweep, put right, announce: everything but deliver."""


class Worker:
    """Any number may run on one store, each for all channels or some."""

    def __init__(
        self, *, deliver: Deliver, relay: Relay | None, sweep: Sweep, announce: Announce | None = None
    ) -> None:
        """Put them together; `relay` is None where the store itself is the queue."""
        self._deliver = deliver
        self._relay = relay
        self._sweep = sweep
        self._announce = announce

    @property
    def channels(self) -> frozenset[ChannelType]:
        """What it has a provider for."""
        return self._deliver.channels

    async def run(
        self,
        *,
        stopping: asyncio.Event,
        channels: Iterable[ChannelType] = CHANNEL_TYPES,
        duty: Duty = Duty.ALL,
    ) -> None:
        """Work until `stopping` is set; return once everything in hand is written down."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep.watch(stopping=stopping))
            if duty is not Duty.RELAY:
                tasks.create_task(self._deliver.run(channels=channels, stopping=stopping))
            if duty is not Duty.DELIVER:
                tasks.create_task(self._sweep.run(stopping=stopping))
            if duty is not Duty.DELIVER and self._relay:
                tasks.create_task(self._relay.run(stopping=stopping))
            if duty is not Duty.DELIVER and self._announce:
                tasks.create_task(self._announce.run(stopping=stopping))
