"""A receiver of webhooks that remembers every arrival before it answers."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web


def at_once() -> float:
    """Answer without any delay."""
    return 0.0


def within(shortest: float, longest: float) -> Callable[[], float]:
    """Take a random time over each answer, in seconds."""
    return lambda: random.uniform(shortest, longest)


@dataclass
class Sink:
    """What arrived, by notification."""

    ledger: TextIO | None = None
    delay: Callable[[], float] = at_once
    port: int = 0
    arrivals: Counter[str] = field(default_factory=Counter)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def take(self, request: web.Request) -> web.Response:
        """Write the arrival down, then answer."""
        document = json.loads(await request.read())
        name = request.headers["webhook-id"]
        self.arrivals[name] += 1
        self.contents[name] = document["data"]
        if self.ledger:
            self.ledger.write(name + "\n")
            self.ledger.flush()
        await asyncio.sleep(self.delay())
        self.answered[name] += 1
        return web.Response(status=204)


@asynccontextmanager
async def webhook_sink(
    *, ledger: Path | None = None, delay: Callable[[], float] = at_once
) -> AsyncIterator[Sink]:
    """Receive on a port of its own until the block ends."""
    sink = Sink(ledger.open("a") if ledger else None, delay)
    application = web.Application()
    application.router.add_post("/hook", sink.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        sink.port = runner.addresses[0][1]
        yield sink
    finally:
        await runner.cleanup()
        if sink.ledger:
            sink.ledger.close()
