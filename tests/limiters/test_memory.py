"""The limiter that counts in memory."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, override

from hypothesis import given
from hypothesis import strategies as st

from notification_service.adapters.limiters.memory import MemoryLimiter
from notification_service.ports import Limiter
from tests.limiters.conformance import LimiterConformance

USERS = st.sampled_from(["ann", "bob", "cy"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("allow"), st.lists(USERS, max_size=6)),
        st.tuples(st.just("give back"), st.lists(USERS, max_size=3)),
        st.tuples(st.just("tick"), st.integers(min_value=1, max_value=12)),
    ),
    max_size=40,
)
WINDOW = 10


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


class TestMemoryLimiter(LimiterConformance):
    """What every limiter promises."""

    @override
    def make(self, limit: int) -> Limiter:
        self.clock = Clock()
        return MemoryLimiter(limit, self.window, self.clock)

    @override
    async def tick(self, time: timedelta) -> None:
        self.clock.seconds += time.total_seconds()


class Ledger:
    """The sliding window as one would explain it: a list that forgets nothing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counted: list[tuple[str, float]] = []

    def allow(self, user_id: str, now: float) -> tuple[bool, int]:
        recent = [at for who, at in self.counted if who == user_id and now - at < WINDOW]
        if len(recent) >= self.limit:
            return False, 0
        self.counted.append((user_id, now))
        return True, self.limit - len(recent) - 1

    def give_back(self, user_id: str) -> None:
        places = [place for place, (who, _) in enumerate(self.counted) if who == user_id]
        if places:
            del self.counted[places[-1]]


@given(limit=st.integers(min_value=1, max_value=4), steps=STEPS)
def test_it_agrees_with_a_list_that_forgets_nothing(limit: int, steps: list[tuple[str, Any]]) -> None:
    clock, ledger = Clock(), Ledger(limit)
    limiter = MemoryLimiter(limit, timedelta(seconds=WINDOW), clock)

    for step, value in steps:
        match step:
            case "allow":
                answers = run(limiter.allow_many(value))
                expected = [ledger.allow(user_id, clock()) for user_id in value]
                assert [(answer.allowed, answer.remaining) for answer in answers] == expected
            case "give back":
                run(limiter.give_back_many(value))
                for user_id in value:
                    ledger.give_back(user_id)
            case _:
                clock.seconds += value


async def test_idle_users_are_forgotten() -> None:
    """Memory holds the users of one window, however many there ever were and however busy one of them is."""
    clock = Clock()
    limiter = MemoryLimiter(WINDOW, timedelta(seconds=WINDOW), clock)

    for number in range(1000):
        clock.seconds += 1
        await limiter.allow_many(["ann", f"user {number}"])

    assert await limiter.check() == f"counted in this process's memory, {WINDOW + 1} users remembered"


async def test_a_user_who_gave_everything_back_is_forgotten_at_once() -> None:
    limiter = MemoryLimiter(2, timedelta(seconds=WINDOW), Clock())
    await limiter.allow_many(["ann", "ann"])

    await limiter.give_back_many(["ann", "ann"])

    assert "0 users" in await limiter.check()


async def test_whoever_waits_exactly_as_long_as_told_is_allowed() -> None:
    """The wait is rounded up, so that no fraction of a microsecond costs a second refusal."""
    clock = Clock()
    limiter = MemoryLimiter(1, timedelta(seconds=1) / 3, clock)
    for _ in range(200):
        await limiter.allow_many(["ann"])
        clock.seconds += 0.000_001_7
        (refused,) = await limiter.allow_many(["ann"])
        clock.seconds += refused.retry_after.total_seconds()

        (answer,) = await limiter.allow_many(["ann"])

        assert answer.allowed
        clock.seconds += 1


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run to the end within a property, which can't be a coroutine."""
    return asyncio.run(work)
