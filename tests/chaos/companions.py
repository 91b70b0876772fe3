"""Processes of the harness itself, which do one thing beside it so that no load delays them."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.warden import Warden
from tests.e2e.processes import ROOT


@dataclass
class Companion:
    """A module of ours in a process of its own, which ends with its standard input."""

    _running: Process
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def hear(self) -> str:
        """Return the next line that it says."""
        assert self._running.stdout
        return (await self._running.stdout.readline()).decode()

    async def ask(self, line: str) -> str:
        """Say a line and return the answer."""
        assert self._running.stdin
        async with self._turn:
            self._running.stdin.write(f"{line}\n".encode())
            return await self.hear()

    async def end(self) -> None:
        """Let it end and wait for it."""
        assert self._running.stdin
        self._running.stdin.close()
        await self._running.wait()


@asynccontextmanager
async def a_companion(warden: Warden, module: str, *arguments: str) -> AsyncIterator[Companion]:
    """Run `module` for as long as the block lasts."""
    command = [sys.executable, "-m", module, *arguments]
    running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    warden.watch(running.pid)
    companion = Companion(running)
    try:
        yield companion
    finally:
        await companion.end()
        warden.forget(running.pid)
