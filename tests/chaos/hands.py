"""What the workers have in hand while faults strike, read from the database past every proxy."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from tests.crash.hands import IN_HAND, ClaimInHand

EVERY_SECONDS = 0.1
AFTERWARDS_SECONDS = 0.5
"""A claim that was made in the middle of a fault may be seen only now."""
PATIENCE = 2.0
UNREACHED = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass
class Hands:
    """Every claim that was seen in hand while a fault lasted."""

    database: str
    seen: set[ClaimInHand] = field(default_factory=set)
    blind_seconds: float = 0.0
    """The longest time for which it was to be looked and the database did not let us."""
    blind_for: str = ""
    """Why it did not, the last time."""
    _watchers: int = 0
    _looked_at: float = field(default_factory=time.monotonic)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _connection: asyncpg.Connection | None = None

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
        """Look now, if the database answers; on one connection, so that no look is long in coming."""
        async with self._looking:
            try:
                async with asyncio.timeout(PATIENCE):
                    rows = await (await self._connected()).fetch(IN_HAND)
            except UNREACHED as error:
                self.blind_for = type(error).__name__
                self._leave()
            else:
                self.seen |= {(str(row["id"]), row["epoch"]) for row in rows}
                self._looked_at = time.monotonic()

    async def watch(self) -> None:
        """Look for as long as somebody wants it."""
        while True:
            if self._watchers:
                await self.look()
                self.blind_seconds = max(self.blind_seconds, time.monotonic() - self._looked_at)
            else:
                self._looked_at = time.monotonic()
            await asyncio.sleep(EVERY_SECONDS)

    def by_notification(self) -> Counter[str]:
        """Count the claims of each."""
        return Counter(name for name, _ in self.seen)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.database)
        return self._connection

    def _leave(self) -> None:
        if self._connection:
            with suppress(*UNREACHED):
                self._connection.terminate()
        self._connection = None
