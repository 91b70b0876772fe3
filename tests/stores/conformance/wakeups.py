"""`Wakeups`: who waits hears at once that there is work, in this process and in others."""

import asyncio
import time
from datetime import timedelta

from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.ports import Wakeups
from tests.stores.house import House

LONG = timedelta(seconds=5)
SHORT = timedelta(milliseconds=150)
AT_ONCE = 0.2


async def seconds_until_woken(wakeups: Wakeups, channel: str = "email", at_most: timedelta = LONG) -> float:
    began = time.monotonic()
    await wakeups.wait(channel, at_most=at_most)  # type: ignore[arg-type]
    return time.monotonic() - began


async def quiet(wakeups: Wakeups) -> None:
    """Hear out what rang at the beginning."""
    for channel in CHANNEL_TYPES:
        await wakeups.wait(channel, at_most=timedelta(milliseconds=1))


async def a_ring(house: House, wakeups: Wakeups, *channels: str) -> None:
    """What a process does that has stored something: commit, then ring."""
    await house.add_one()
    await wakeups.ring(channels)  # type: ignore[arg-type]


class WakeupsConformance:
    """The sentences of `Wakeups`."""

    async def test_a_ring_wakes_who_waits_for_the_channel(self, house: House) -> None:
        wakeups = await house.wakeups()
        await quiet(wakeups)
        waiting = asyncio.create_task(seconds_until_woken(wakeups))
        await asyncio.sleep(0.02)

        await wakeups.ring(["email"])

        assert await waiting < AT_ONCE

    async def test_a_ring_since_the_last_wait_is_not_missed(self, house: House) -> None:
        """Between two waits the worker claims; what rings meanwhile counts."""
        wakeups = await house.wakeups()
        await quiet(wakeups)
        await wakeups.ring(["email"])

        assert await seconds_until_woken(wakeups) < AT_ONCE

    async def test_many_rings_are_few(self, house: House) -> None:
        """Whoever was rung for a hundred times looks a few times and then waits."""
        wakeups = await house.wakeups()
        await quiet(wakeups)
        for _ in range(100):
            await wakeups.ring(["email", "sms"])
        woken = 0
        while await seconds_until_woken(wakeups, at_most=SHORT) < SHORT.total_seconds() * 0.9:
            woken += 1

        assert 1 <= woken <= 5

    async def test_without_a_ring_a_wait_ends_in_time(self, house: House) -> None:
        wakeups = await house.wakeups()
        await quiet(wakeups)

        waited = await seconds_until_woken(wakeups, at_most=SHORT)

        assert SHORT.total_seconds() * 0.9 <= waited < SHORT.total_seconds() + AT_ONCE

    async def test_a_ring_for_one_channel_wakes_no_other(self, house: House) -> None:
        wakeups = await house.wakeups()
        await quiet(wakeups)

        await wakeups.ring(["sms"])

        assert await seconds_until_woken(wakeups, "email", SHORT) >= SHORT.total_seconds() * 0.9
        assert await seconds_until_woken(wakeups, "sms") < AT_ONCE

    async def test_everybody_who_waits_is_woken(self, house: House) -> None:
        wakeups = await house.wakeups()
        await quiet(wakeups)
        waiting = [asyncio.create_task(seconds_until_woken(wakeups)) for _ in range(3)]
        await asyncio.sleep(0.02)

        await wakeups.ring(["email"])

        assert max(await asyncio.gather(*waiting)) < AT_ONCE

    async def test_a_ring_is_heard_in_another_process_at_once(self, house: House) -> None:
        """The quickest of three counts: the machine may be busy."""
        other = await house.another()
        ours, theirs = await house.wakeups(), await other.wakeups()
        waited = []
        for _ in range(3):
            await quiet(theirs)
            waiting = asyncio.create_task(theirs.wait("email", at_most=LONG))
            await asyncio.sleep(0.02)
            await a_ring(house, ours, "email")
            began = time.monotonic()

            await waiting

            waited.append(time.monotonic() - began)
        assert min(waited) < AT_ONCE

    async def test_a_burst_of_rings_ends_with_one_that_is_heard(self, house: House) -> None:
        """Rings are told on in batches; none may be left over between two of them."""
        other = await house.another()
        ours, theirs = await house.wakeups(), await other.wakeups()
        for at in range(20):
            await a_ring(house, ours, "email")
            await asyncio.sleep(0.001 * (at % 5))
        await asyncio.sleep(0.05)
        await quiet(theirs)

        await a_ring(house, ours, "email")

        assert await seconds_until_woken(theirs) < AT_ONCE

    async def test_a_cancelled_wait_loses_no_later_ring(self, house: House) -> None:
        wakeups = await house.wakeups()
        await quiet(wakeups)
        waiting = asyncio.create_task(seconds_until_woken(wakeups))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])

        await wakeups.ring(["email"])

        assert await seconds_until_woken(wakeups) < AT_ONCE

    async def test_ringing_for_nobody_is_nothing(self, house: House) -> None:
        wakeups = await house.wakeups()
        await quiet(wakeups)

        await wakeups.ring([])

        assert await seconds_until_woken(wakeups, at_most=SHORT) >= SHORT.total_seconds() * 0.9
