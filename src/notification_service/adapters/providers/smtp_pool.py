"""Connections to one SMTP server, kept open between messages."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

# Servers hang up on the idle after a while, some after half a minute.
LONGEST_IDLE = timedelta(seconds=20)

_FAREWELL_SECONDS = 1.0


class SmtpLine:
    """One connection, lent to one message at a time."""

    def __init__(self, client: SMTP, connect: Callable[[], Awaitable[SMTP]]) -> None:
        self.client = client
        self.reused = False
        self.needs_reset = False
        self.idle_since = 0.0
        self._connect = connect

    async def use(self, work: Callable[[SMTP], Awaitable[object]]) -> None:
        """Do the work, on a clean slate when the last message was refused half-way."""
        if self.needs_reset:
            await self.client.rset()
            self.needs_reset = False
        await work(self.client)

    async def renew(self) -> None:
        """Replace the connection by a fresh one."""
        self.client.close()
        self.client = await self._connect()
        self.reused = self.needs_reset = False

    async def hang_up(self) -> None:
        """Take leave of the server, which may be gone already."""
        with suppress(SMTPException, OSError):
            await self.client.quit(timeout=_FAREWELL_SECONDS)
        self.client.close()


class SmtpPool:
    """At most `size` connections; the one used last is lent first, so that the others may go."""

    def __init__(self, *, connect: Callable[[], Awaitable[SMTP]], size: int) -> None:
        self._connect = connect
        self._permits = asyncio.Semaphore(size)
        self._idle: deque[SmtpLine] = deque()
        self._open = True

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[SmtpLine]:
        """Lend a connection, a new one when none is idle.

        It is kept when the borrower leaves without an error or with a refusal; after any other error nobody
        knows what the server would say next, so it is closed.
        """
        async with self._permits:
            line = self._take_idle() or SmtpLine(await self._connect(), self._connect)
            try:
                yield line
            except BaseException as error:
                line.needs_reset = _is_refusal(error)
                if not line.needs_reset:
                    line.client.close()
                raise
            finally:
                self._put_back(line)

    async def close(self) -> None:
        """Close all connections, those still lent when they come back."""
        self._open = False
        async with asyncio.TaskGroup() as farewells:
            while self._idle:
                farewells.create_task(self._idle.pop().hang_up())

    def _take_idle(self) -> SmtpLine | None:
        oldest = asyncio.get_running_loop().time() - LONGEST_IDLE.total_seconds()
        while self._idle:
            line = self._idle.pop()
            if line.client.is_connected and line.idle_since > oldest:
                return line
            line.client.close()
        return None

    def _put_back(self, line: SmtpLine) -> None:
        if not (self._open and line.client.is_connected):
            line.client.close()
            return
        line.reused = True
        line.idle_since = asyncio.get_running_loop().time()
        self._idle.append(line)


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, SMTPResponseException) and 400 <= error.code < 600
