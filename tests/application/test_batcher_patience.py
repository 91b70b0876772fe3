"""Nobody waits longer than the patience, and what cannot be done in time is refused early."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from notification_service.application.batcher import TURN
from notification_service.domain.errors import OverloadedError
from tests.application.test_batcher import Recorder, batcher, submitted

PATIENCE = timedelta(seconds=0.4)
SECONDS = PATIENCE.total_seconds()


async def test_waiting_for_a_turn_and_a_flush_that_hangs_take_no_longer_than_the_patience_together() -> None:
    """The second flush begins when the first is given up, and has only what is left."""
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush, patience=PATIENCE)
    took: list[float] = []

    async def refused(item: int) -> None:
        began = time.monotonic()
        with pytest.raises(OverloadedError):
            await batch.submit(item)
        took.append(time.monotonic() - began)

    async with asyncio.TaskGroup() as tasks:
        for item in range(12):
            tasks.create_task(refused(item))
            await asyncio.sleep(SECONDS / 6)

    assert len(took) == 12
    assert max(took) < SECONDS * 1.25


async def test_while_nothing_moves_new_items_are_refused_at_once() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush, patience=PATIENCE)
    first, second = *await submitted(batch, 1), *await submitted(batch, 2)
    await asyncio.sleep(SECONDS * TURN * 1.2)

    with pytest.raises(OverloadedError):
        async with asyncio.timeout(0):
            await batch.submit(3)

    flush.open.set()
    assert await first == 2
    with pytest.raises(OverloadedError):
        await second
    assert await batch.submit(4) == 8


async def test_a_batch_gets_smaller_while_it_is_slow_and_larger_again() -> None:
    """And whoever would wait for several slow ones is refused at once."""
    flush = Recorder()
    batch = batcher(flush, largest=8, patience=PATIENCE)
    flush.open.clear()
    slow = await submitted(batch, *range(8))
    await asyncio.sleep(SECONDS * TURN * 1.2)
    flush.open.set()
    await asyncio.gather(*slow)

    results = await asyncio.gather(*(batch.submit(item) for item in range(20)), return_exceptions=True)
    later = await asyncio.gather(*(batch.submit(item) for item in range(20)))

    assert [type(each) for each in results] == [int] * 4 + [OverloadedError] * 16
    assert later == [item * 2 for item in range(20)]
    assert [len(each) for each in flush.batches] == [8, 4, 8, 8, 4]


async def test_what_has_waited_too_long_is_refused_and_not_begun() -> None:
    """It would be given up in the middle, and so would be those beside it."""
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush, patience=PATIENCE)
    [first] = await submitted(batch, 1)
    [late] = await submitted(batch, 2)
    await asyncio.sleep(SECONDS * TURN * 1.2)

    flush.open.set()

    assert await first == 2
    with pytest.raises(OverloadedError):
        await late
    assert await batch.submit(3) == 6
    assert flush.batches == [[1], [3]]


async def test_callers_do_not_wait_for_the_end_of_a_flush_that_was_given_up() -> None:
    """It may have connections to close that hang."""
    flushes = 0

    async def stubborn(items: Sequence[int]) -> Sequence[int | Exception]:
        nonlocal flushes
        flushes += 1
        try:
            await asyncio.sleep(30 if flushes == 1 else 0)
        finally:
            await asyncio.sleep(SECONDS if flushes == 1 else 0)
        return list(items)

    batch = batcher(stubborn, patience=PATIENCE)
    began = time.monotonic()
    with pytest.raises(OverloadedError):
        await batch.submit(1)

    assert time.monotonic() - began < SECONDS * 1.5
    await asyncio.sleep(SECONDS)
    assert await batch.submit(2) == 2
