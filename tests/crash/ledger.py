"""What the client was promised, on disk before it counts."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Ledger:
    """Accepted ids by request; an entry counts once it is synced."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._written = 0
        self._synced = 0
        self._turn = asyncio.Lock()
        self._grown = asyncio.Condition()
        self.ids: dict[int, str] = {}

    async def add(self, number: int, notification_id: str) -> None:
        """Return when the entry is safe; entries that come together share one sync."""
        self._file.write(f"{number} {notification_id}\n")
        self._written += 1
        mine = self._written
        async with self._turn:
            if self._synced < mine:
                self._file.flush()
                covered = self._written
                await asyncio.to_thread(os.fsync, self._file.fileno())
                self._synced = covered
        async with self._grown:
            self.ids[number] = notification_id
            self._grown.notify_all()

    async def reaches(self, count: int) -> None:
        """Return when so many entries count."""
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.ids) >= count)


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Keep a ledger at `path`."""
    with path.open("a") as file:
        yield Ledger(file)
