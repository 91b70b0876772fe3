"""Counts notifications in the memory of one process."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import timedelta

from notification_service.ports import Allowance


class MemoryLimiter:
    """An exact sliding window for each user, for one process only.

    Each process counts for itself and forgets at its end: with n processes a user may get n times the limit.
    Memory holds the users of one window and at most `limit` times for each.
    """

    def __init__(
        self,
        limit: int,
        window: timedelta = timedelta(hours=1),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` returns seconds and never goes back."""
        self._limit = limit
        self._window = window.total_seconds()
        self._clock = clock
        self._counted: OrderedDict[str, deque[float]] = OrderedDict()
        """When each user's notifications were counted, oldest first; users in the order of their latest."""

    async def allow_many(self, user_ids: Sequence[str]) -> Sequence[Allowance]:
        """Ask for one notification for each id, in order; what is refused isn't counted."""
        now = self._clock()
        self._forget_idle(now)
        return [self._allow(user_id, now) for user_id in user_ids]

    async def give_back_many(self, user_ids: Sequence[str]) -> None:
        """Take back one counted notification for each id, the latest; unknown ids are passed over."""
        for user_id in user_ids:
            if times := self._counted.get(user_id):
                times.pop()
                if not times:
                    del self._counted[user_id]

    async def check(self) -> str:
        """Return a line about where is counted; memory is never out of reach."""
        return f"counted in this process's memory, {len(self._counted)} users remembered"

    def _allow(self, user_id: str, now: float) -> Allowance:
        times = self._counted.setdefault(user_id, deque())
        while times and self._is_over(times[0], now):
            times.popleft()
        allowed = len(times) < self._limit
        if allowed:
            times.append(now)
            self._counted.move_to_end(user_id)
        return Allowance(
            allowed=allowed,
            limit=self._limit,
            remaining=self._limit - len(times),
            reset=self._until_over(times[-1], now),
            retry_after=timedelta() if allowed else self._until_over(times[0], now),
        )

    def _is_over(self, counted_at: float, now: float) -> bool:
        return counted_at + self._window <= now

    def _until_over(self, counted_at: float, now: float) -> timedelta:
        """Round up: who waits this long finds it over."""
        return timedelta(microseconds=math.ceil((counted_at + self._window - now) * 1_000_000))

    def _forget_idle(self, now: float) -> None:
        """Drop the users whose whole window is over; the idlest stand first, so this stops early."""
        while self._counted:
            user_id, times = next(iter(self._counted.items()))
            if not self._is_over(times[-1], now):
                return
            del self._counted[user_id]
