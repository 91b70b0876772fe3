"""Every way in which such batchers break, and that this one doesn't."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from notification_service.application.batcher import Batcher, IncompleteFlushError
from notification_service.domain.errors import OverloadedError, StoreUnavailableError

LONG = timedelta(seconds=5)
SOON = 1.0


class Recorder:
    """A flush that notes its batches, doubles numbers, and can be held up or spoiled."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.running = 0
        self.most_at_once = 0

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await self.open.wait()
            await asyncio.sleep(0)
        finally:
            self.running -= 1
        return [item * 2 for item in items]


def batcher(
    flush: Callable[[Sequence[int]], Awaitable[Sequence[int | Exception]]],
    *,
    largest: int = 500,
    capacity: int = 5_000,
    patience: timedelta = LONG,
) -> Batcher[int, int]:
    return Batcher(flush, largest=largest, capacity=capacity, patience=patience)


async def submit_all(batch: Batcher[int, int], items: Sequence[int]) -> list[Any]:
    """Every item's own ending; fails when one has none."""
    async with asyncio.timeout(SOON):
        return await asyncio.gather(*(batch.submit(item) for item in items), return_exceptions=True)


async def submitted(batch: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    """Tasks that wait for their items' results, after the first flush has begun."""
    tasks = [asyncio.create_task(batch.submit(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_alone_an_item_is_flushed_at_once() -> None:
    """No timer: nothing is waited for, not even a moment."""
    flush = Recorder()

    task = asyncio.create_task(batcher(flush).submit(7))
    for _ in range(3):
        await asyncio.sleep(0)

    assert flush.batches == [[7]]
    assert await task == 14


async def test_everybody_gets_the_result_of_its_own_item() -> None:
    items = list(range(100))

    results = await submit_all(batcher(Recorder()), items)

    assert results == [item * 2 for item in items]


async def test_five_hundred_at_once_cost_few_flushes() -> None:
    flush = Recorder()

    await submit_all(batcher(flush), range(500))

    assert len(flush.batches) <= 2
    assert sorted(item for batch in flush.batches for item in batch) == list(range(500))


async def test_what_comes_during_a_flush_goes_together_into_the_next() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush)
    first = await submitted(batch, 1)
    others = await submitted(batch, 2, 3, 4)

    flush.open.set()

    assert await asyncio.gather(*first, *others) == [2, 4, 6, 8]
    assert flush.batches == [[1], [2, 3, 4]]


async def test_a_batch_is_never_larger_than_allowed_nor_two_at_once() -> None:
    flush = Recorder()

    await submit_all(batcher(flush, largest=7), range(50))

    assert max(len(batch) for batch in flush.batches) == 7
    assert flush.most_at_once == 1


@pytest.mark.parametrize("steps", range(12))
async def test_no_wake_up_is_lost_between_two_flushes(steps: int) -> None:
    """An item handed in at any step of the end of a flush is flushed too."""
    batch = batcher(Recorder())
    first = asyncio.create_task(batch.submit(1))
    for _ in range(steps):
        await asyncio.sleep(0)

    async with asyncio.timeout(SOON):
        second = await batch.submit(2)

    assert (await first, second) == (2, 4)


async def test_a_caller_that_has_its_result_may_submit_again_at_once() -> None:
    batch = batcher(Recorder())

    async with asyncio.timeout(SOON):
        results = [await batch.submit(item) for item in range(20)]

    assert results == [item * 2 for item in range(20)]


async def test_an_item_taken_back_before_its_flush_is_never_flushed() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush)
    first = await submitted(batch, 1)
    taken_back, other = await submitted(batch, 2, 3)
    taken_back.cancel()
    await asyncio.wait([taken_back])

    flush.open.set()

    assert await asyncio.gather(*first, other) == [2, 6]
    assert flush.batches == [[1], [3]]


async def test_a_caller_that_leaves_during_its_flush_harms_no_neighbour() -> None:
    """The flush goes on, for the others and for the truth."""
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush)
    leaving, *others = await submitted(batch, 1, 2, 3)
    leaving.cancel()
    await asyncio.wait([leaving])

    flush.open.set()

    assert leaving.cancelled()
    assert await asyncio.gather(*others) == [4, 6]
    assert flush.batches == [[1, 2, 3]]
    assert await batch.submit(5) == 10


async def test_when_every_caller_has_left_the_next_one_is_served() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush)
    for task in [*await submitted(batch, 1), *await submitted(batch, 2, 3)]:
        task.cancel()
    flush.open.set()

    async with asyncio.timeout(SOON):
        assert await batch.submit(4) == 8

    assert flush.batches == [[1], [4]]


async def test_an_error_returned_for_an_item_is_that_items_alone() -> None:
    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        return [ValueError(item) if item % 3 == 0 else item * 2 for item in items]

    results = await submit_all(batcher(flush), range(9))

    assert [type(result) for result in results] == [ValueError, int, int] * 3
    assert results[1::3] == [2, 8, 14]


async def test_one_bad_item_among_five_hundred_fails_alone() -> None:
    flushed: list[int] = []

    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        if 137 in items:
            raise ValueError("137 spoils its batch")
        flushed.extend(items)
        return [item * 2 for item in items]

    results = await submit_all(batcher(flush), range(500))

    assert [at for at, result in enumerate(results) if isinstance(result, ValueError)] == [137]
    assert all(result == at * 2 for at, result in enumerate(results) if at != 137)
    assert sorted(flushed) == [item for item in range(500) if item != 137]


async def test_an_outage_is_everybodys_and_nothing_is_tried_again() -> None:
    flush = Recorder()

    async def failing(items: Sequence[int]) -> Sequence[int | Exception]:
        await flush(items)
        raise StoreUnavailableError

    results = await submit_all(batcher(failing), range(50))

    assert {type(result) for result in results} == {StoreUnavailableError}
    assert sum(len(batch) for batch in flush.batches) == 50


async def test_after_a_failed_flush_the_next_is_served() -> None:
    failures = [StoreUnavailableError(), ValueError("no"), asyncio.CancelledError()]

    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        if failures:
            raise failures.pop(0)
        return [item * 2 for item in items]

    batch = batcher(flush)
    for _ in range(3):
        with suppress(StoreUnavailableError, ValueError, OverloadedError):
            await batch.submit(1)

    assert await batch.submit(2) == 4


async def test_a_flush_that_hangs_is_given_up_and_the_next_is_served() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush, patience=timedelta(milliseconds=50))
    results = await submit_all(batch, range(3))
    flush.open.set()

    async with asyncio.timeout(SOON):
        after = await batch.submit(4)

    assert [type(result) for result in results] == [OverloadedError] * 3
    assert after == 8
    assert flush.running == 0


@pytest.mark.parametrize("count", [0, 1, 2, 4, 9])
async def test_a_flush_with_too_few_or_too_many_results_answers_everybody(count: int) -> None:
    """And is not repeated: nobody knows what took effect."""
    flush = Recorder()

    async def wrong(items: Sequence[int]) -> Sequence[int | Exception]:
        await flush(items)
        return [0] * count

    batch = batcher(wrong)

    results = await submit_all(batch, range(3))

    assert [type(result) for result in results] == [IncompleteFlushError] * 3
    assert flush.batches == [[0, 1, 2]]


async def test_something_cancelled_inside_a_flush_answers_everybody() -> None:
    """A cancelled future that the flush waited for is no cancellation of the callers."""

    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        return []

    results = await submit_all(batcher(flush), range(5))

    assert [type(result) for result in results] == [OverloadedError] * 5


async def test_a_full_batcher_refuses_at_once() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush, capacity=3)
    first = await submitted(batch, 0)
    waiting = await submitted(batch, 1, 2, 3)

    with pytest.raises(OverloadedError):
        async with asyncio.timeout(0):
            await batch.submit(4)

    flush.open.set()
    assert await asyncio.gather(*first, *waiting) == [0, 2, 4, 6]
    assert await batch.submit(5) == 10


async def test_closing_waits_for_everything_that_was_taken() -> None:
    flush = Recorder()
    flush.open.clear()
    async with batcher(flush, largest=2) as batch:
        tasks = await submitted(batch, *range(7))
        asyncio.get_running_loop().call_later(0.02, flush.open.set)

    assert all(task.done() for task in tasks) or await asyncio.wait(tasks, timeout=0)
    assert [await task for task in tasks] == [item * 2 for item in range(7)]
    assert sum(len(each) for each in flush.batches) == 7


async def test_a_closed_batcher_refuses() -> None:
    flush = Recorder()
    async with batcher(flush) as batch:
        await batch.submit(1)

    with pytest.raises(OverloadedError):
        await batch.submit(2)

    assert flush.batches == [[1]]


async def test_what_comes_while_it_closes_is_refused_and_what_was_there_is_finished() -> None:
    flush = Recorder()
    flush.open.clear()
    batch = batcher(flush)
    there = await submitted(batch, 1, 2)
    closing = asyncio.create_task(batch.__aexit__(None, None, None))
    await asyncio.sleep(0)

    with pytest.raises(OverloadedError):
        await batch.submit(3)
    flush.open.set()
    await closing

    assert await asyncio.gather(*there) == [2, 4]


async def test_closing_after_failures_does_not_hang() -> None:
    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        raise ValueError

    async with asyncio.timeout(SOON), batcher(flush) as batch:
        tasks = await submitted(batch, 1, 2, 3)

    assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {ValueError}
