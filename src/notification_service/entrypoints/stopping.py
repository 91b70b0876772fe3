"""How a process is told to stop: politely first, at once the second time."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(patience: timedelta) -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGTERM or SIGINT sets, for whoever runs in this event loop.

    The second signal ends the process at once. So does the end of the `patience`, which begins with the
    first one: a clock of its own watches it, because the event loop may be what hangs.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    last_resort = threading.Timer(patience.total_seconds(), _give_up)
    last_resort.daemon = True

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            leave_at_once(128 + number, "stopped before everything was finished")
        stop.set()
        last_resort.start()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        last_resort.cancel()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def leave_at_once(code: int, reason: str) -> None:
    """End this process without waiting for anything; what was in flight is found in the store."""
    print(reason, file=sys.stderr, flush=True)
    os._exit(code)


def _give_up() -> None:
    leave_at_once(1, "could not finish within NS_SHUTDOWN_SECONDS; what was in flight is tried again later")
