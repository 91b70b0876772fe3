"""Counts of long lists, remembered for a moment: counting a million rows takes longer than showing a page."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic

from notification_service.domain.filters import NotificationFilter

WORTH_REMEMBERING = 10_000
"""What is shorter is counted each time and always exact."""
REMEMBERED = timedelta(seconds=5)
MOST_LISTS = 1_000


class Totals:
    """How many rows match; a total of more than 10,000 may be 5 seconds old."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[NotificationFilter, tuple[int, float]] = {}

    async def of(self, where: NotificationFilter, count: Callable[[], Awaitable[int]]) -> int:
        """Return how many rows match `where`, asking `count` when it isn't known."""
        total, until = self._known.get(where, (0, 0.0))
        if until > monotonic():
            return total
        total = await count()
        if total > WORTH_REMEMBERING:
            if len(self._known) >= MOST_LISTS:
                self._known.clear()
            self._known[where] = (total, monotonic() + REMEMBERED.total_seconds())
        return total
