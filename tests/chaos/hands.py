"""What the workers have in hand while faults strike, read from the database past every proxy."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from tests.crash.hands import ClaimInHand, claims_in_hand

EVERY_SECONDS = 0.1
AFTERWARDS_SECONDS = 0.5
"""A claim that was made in the middle of a fault may be seen only now."""


@dataclass
class Hands:
    """Every claim that was seen in hand while a fault lasted."""

    database: str
    seen: set[ClaimInHand] = field(default_factory=set)
    _watchers: int = 0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look again and again until the block has ended, and once more after."""
        self._watchers += 1
        try:
            yield
            await asyncio.sleep(AFTERWARDS_SECONDS)
        finally:
            self._watchers -= 1

    async def look(self) -> None:
        """Look now, if the database answers."""
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.seen |= await claims_in_hand(self.database, alive=True)

    async def watch(self) -> None:
        """Look for as long as somebody wants it."""
        while True:
            if self._watchers:
                await self.look()
            await asyncio.sleep(EVERY_SECONDS)

    def by_notification(self) -> Counter[str]:
        """Count the claims of each."""
        return Counter(name for name, _ in self.seen)
