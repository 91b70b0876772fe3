"""How a loop waits for its next round without keeping its process from stopping."""

import asyncio
from contextlib import suppress


async def pause(seconds: float, *, unless: asyncio.Event) -> None:
    """Return after so many seconds, or as soon as the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            await unless.wait()
