"""What one worker process does: deliver, sweep, and watch the backlog."""

import asyncio
from collections.abc import Iterable

from notification_service.application.deliver import Deliver
from notification_service.application.sweep import Sweep
from notification_service.domain.channels import CHANNEL_TYPES, ChannelType


class Worker:
    """Any number may run on one store, each for all channels or some."""

    def __init__(self, *, deliver: Deliver, sweep: Sweep) -> None:
        """Put the two together."""
        self._deliver = deliver
        self._sweep = sweep

    @property
    def channels(self) -> frozenset[ChannelType]:
        """What it has a provider for."""
        return self._deliver.channels

    async def run(self, *, stopping: asyncio.Event, channels: Iterable[ChannelType] = CHANNEL_TYPES) -> None:
        """Work until `stopping` is set; return once everything in hand is written down."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._deliver.run(channels=channels, stopping=stopping))
            tasks.create_task(self._sweep.run(stopping=stopping))
            tasks.create_task(self._sweep.watch(stopping=stopping))
