"""Any order of submitting, leaving and failing: every submit ends exactly once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notification_service.application.batcher import IncompleteFlushError
from notification_service.domain.errors import OverloadedError, StoreUnavailableError
from tests.application.test_batcher import SOON, batcher

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("let run"), st.integers(1, 4)),
        st.tuples(
            st.just("next flush"), st.sampled_from(["works", "raises", "is cancelled", "is short", "is away"])
        ),
    ),
    max_size=60,
)
FAILURES: dict[str, Callable[[], BaseException]] = {
    "raises": ValueError,
    "is cancelled": asyncio.CancelledError,
    "is away": StoreUnavailableError,
}


class MoodyFlush:
    """Ends each flush as told; an item that is a multiple of 7 spoils its batch."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.moods: list[str] = []
        self.flushed: list[int] = []

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        assert 0 < len(items) <= self.largest
        mood = self.moods.pop(0) if self.moods else "works"
        if mood in FAILURES:
            raise FAILURES[mood]()
        if mood == "is short":
            return [0] * (len(items) - 1)
        if any(item % 7 == 0 for item in items):
            raise ValueError
        await asyncio.sleep(0)
        self.flushed.extend(items)
        return [item * 2 for item in items]


class Game:
    """Callers that come and leave while flushes end in every way."""

    def __init__(self, largest: int, capacity: int) -> None:
        self.flush = MoodyFlush(largest)
        self.batcher = batcher(self.flush, largest=largest, capacity=capacity)
        self.callers: list[tuple[int, asyncio.Task[int]]] = []
        self.left: set[asyncio.Task[int]] = set()

    async def play(self, steps: list[tuple[str, Any]]) -> None:
        async with asyncio.timeout(SOON):
            async with self.batcher:
                for step, value in steps:
                    await self._take(step, value)
                await asyncio.sleep(0)
            await asyncio.gather(*(task for _, task in self.callers), return_exceptions=True)

    async def _take(self, step: str, value: Any) -> None:
        match step:
            case "submit":
                self.callers.append((value, asyncio.create_task(self.batcher.submit(value))))
            case "cancel" if self.callers:
                task = self.callers[value % len(self.callers)][1]
                self.left |= {task} if task.cancel() else set()
            case "let run":
                for _ in range(value):
                    await asyncio.sleep(0)
            case "next flush":
                self.flush.moods.append(value)


@given(steps=STEPS, largest=st.integers(1, 8), capacity=st.integers(1, 12))
def test_every_submit_ends_exactly_once_whatever_happens(
    steps: list[tuple[str, Any]], largest: int, capacity: int
) -> None:
    """With its own result or an error; without any only when its caller left; nobody waits for ever."""

    async def play() -> None:
        game = Game(largest, capacity)

        await game.play(steps)

        served = []
        for item, task in game.callers:
            if task.cancelled():
                assert task in game.left
            elif error := task.exception():
                assert isinstance(
                    error, ValueError | StoreUnavailableError | OverloadedError | IncompleteFlushError
                )
            else:
                assert task.result() == item * 2
                served.append(item)
        assert all(game.flush.flushed.count(item) >= served.count(item) for item in served)
        assert len(game.flush.flushed) <= len(game.callers)

    asyncio.run(play())
