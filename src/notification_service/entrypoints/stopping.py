"""How a process is told to stop: politely first, at once the second time."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(patience: timedelta, *, hasty: bool = True) -> Generator[asyncio.Event]:
    """Yield an event that the first SIGTERM or SIGINT sets, for whoever runs in this event loop.

    The second signal ends the process at once, unless it is not `hasty`: a supervised child is told to stop
    by several at a time. So does the end of the `patience`, which begins with the first signal: a clock of
    its own watches it, because the event loop may be what hangs.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    last_resort = threading.Timer(patience.total_seconds(), _give_up)
    last_resort.daemon = True

    # Not the loop's own handlers, which a loop that hangs would never call.
    def on_signal(number: int, _frame: object) -> None:
        if last_resort.ident is None:
            last_resort.start()
            loop.call_soon_threadsafe(stop.set)
        elif hasty:
            leave_at_once(128 + number, "stopped before everything was finished")

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        last_resort.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@asynccontextmanager
async def abandoned_by(stop: asyncio.Event) -> AsyncGenerator[Callable[[], object]]:
    """Abandon a block that is still starting when `stop` is set; nothing is raised.

    The block calls what it is given once it has started: from then on it ends by itself.
    """
    loop, watcher = asyncio.get_running_loop(), asyncio.create_task(stop.wait())
    try:
        async with asyncio.timeout(None) as start:
            watcher.add_done_callback(
                lambda done: None if done.cancelled() else start.reschedule(loop.time())
            )
            yield watcher.cancel
    except TimeoutError:
        if not start.expired():
            raise
    finally:
        watcher.cancel()


def leave_at_once(code: int, reason: str) -> None:
    """End this process without waiting for anything; what was in flight is found in the store."""
    print(reason, file=sys.stderr, flush=True)
    os._exit(code)


def _give_up() -> None:
    leave_at_once(1, "could not finish within NS_SHUTDOWN_SECONDS; what was in flight is tried again later")
