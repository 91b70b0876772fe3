"""A look that hangs, and hangs on when it is given up, delays nobody."""

import asyncio
import time

from notification_service.application.health import PATIENCE, Health, ReadyStatus

LINGERS = 1.0


async def test_nobody_waits_for_the_end_of_a_look_that_was_given_up() -> None:
    """It may have a connection to close that hangs."""
    ended = asyncio.Event()

    async def stubborn() -> str:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(LINGERS)
            ended.set()
        return "too late"

    began = time.monotonic()
    readiness = await Health(needed={"database": stubborn}, helpful={}).readiness()

    assert time.monotonic() - began < PATIENCE.total_seconds() + LINGERS / 2
    assert readiness.status is ReadyStatus.UNREADY
    assert readiness.checks["database"].detail == "no answer within 2 seconds"
    await ended.wait()


async def test_a_look_that_fails_after_it_was_given_up_is_nobodys_trouble() -> None:
    ended = asyncio.Event()

    async def failing() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise ValueError from None
        finally:
            ended.set()
        return "too late"

    readiness = await Health(needed={}, helpful={"broker": failing}).readiness()

    assert readiness.status is ReadyStatus.DEGRADED
    await ended.wait()
