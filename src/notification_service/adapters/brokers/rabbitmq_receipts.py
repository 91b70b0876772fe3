"""Which deliveries are open, and how they are acknowledged in groups."""

import asyncio
import itertools
from collections.abc import Iterable

from aiormq.abc import AbstractChannel


class Receipts:
    """Which deliveries of one AMQP channel are open, and which are to be acknowledged."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: dict[int, bool] = {}
        """In the order of delivery; whether each is settled."""
        self._settled: set[int] = set()
        self._some = asyncio.Event()

    def expect(self, tag: int) -> None:
        """Note a delivery."""
        self._open[tag] = False

    def settle(self, tags: Iterable[int]) -> None:
        """Note what is to be acknowledged; what is no longer open is none of it."""
        for tag in tags:
            if tag in self._open:
                self._open[tag] = True
                self._settled.add(tag)
        self._some.set()

    async def acknowledge(self, channel: AbstractChannel) -> None:
        """Acknowledge whatever is settled, in groups, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            await self.flush(channel)

    async def flush(self, channel: AbstractChannel) -> None:
        """Acknowledge what is settled: everything up to the first open one at once, the rest one by one."""
        prefix = self._finished_prefix()
        if prefix:
            await channel.basic_ack(prefix, multiple=True, wait=False)
        while self._settled:
            tag = self._settled.pop()
            del self._open[tag]
            await channel.basic_ack(tag, wait=False)

    def _finished_prefix(self) -> int | None:
        """Take out what is settled up to the first open one, and return the last of it."""
        last = None
        for tag in list(itertools.takewhile(self._open.__getitem__, self._open)):
            del self._open[tag]
            self._settled.discard(tag)
            last = tag
        return last
