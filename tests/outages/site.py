"""What most tests of this folder look at: an API process and a worker under traffic, and what arrives."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.e2e.caller import Caller
from tests.e2e.processes import ServiceProcess
from tests.e2e.sink import Sink, webhook_sink
from tests.outages.stand import Stand, until
from tests.outages.traffic import Traffic

ANSWER_SECONDS = 11.5
"""Ten for the work, one for the broker, and what a busy machine adds."""
PATIENCE_SECONDS = 100.0
"""A claim whose answer an outage swallowed is found when its lease, a minute, has run out."""
READY_SECONDS = 3.5
"""Two for each look, all at the same time."""


@dataclass(frozen=True)
class Site:
    """An API process, a worker, a receiver and those who send to it."""

    app: ServiceProcess
    worker: ServiceProcess
    caller: Caller
    sink: Sink
    traffic: Traffic

    async def begun(self) -> None:
        """Wait until the traffic flows."""
        await until(lambda: len(self.traffic.accepted) > 100, "nothing accepted")

    async def delivered(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """What was promised is all there is, and everything of it arrives once."""
        wanted = set(self.traffic.accepted.values())
        assert len(wanted) == len(self.traffic.accepted)
        await until(lambda: wanted <= set(self.sink.arrivals), "not delivered", seconds=seconds)
        assert set(self.sink.arrivals) == wanted
        assert set(self.sink.arrivals.values()) == {1}


@asynccontextmanager
async def a_site(stand: Stand, *, waits: bool = True) -> AsyncIterator[Site]:
    """Start it; with what it needs, unless it shall not wait for that."""
    if waits:
        app, worker = await asyncio.gather(stand.start("app"), stand.start("worker"))
    else:
        app, worker = stand.launch("app"), stand.launch("worker")
        await asyncio.gather(app.answers(), worker.answers())
    async with webhook_sink() as sink, stand.calling(app) as caller:
        yield Site(app, worker, caller, sink, Traffic([caller], sink.url))


@asynccontextmanager
async def repeating(work: Callable[[], Awaitable[object]], *, every: float) -> AsyncIterator[list[float]]:
    """Do something again and again while the block runs; gather how long each took."""
    took: list[float] = []

    async def repeat() -> None:
        while True:
            began = time.monotonic()
            await work()
            took.append(time.monotonic() - began)
            await asyncio.sleep(every)

    task = asyncio.create_task(repeat())
    try:
        yield took
        seen = len(took)
        await until(lambda: len(took) > seen + 1, "no answer")  # what hangs now counts, too
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
