"""The ports of status events: where they wait, and what takes them to other systems."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from notification_service.domain.status_events import StatusEvent

type Announcing = Callable[[Sequence[StatusEvent]], Awaitable[frozenset[int]]]
"""Takes events and returns the sequence numbers of those that are safe; never raises."""


class StatusEvents(Protocol):
    """Events that nobody has announced yet, each stored by the transaction it tells of.

    Every method raises `StoreUnavailableError` when the database is out of reach.
    """

    async def hand_over(self, announcing: Announcing, *, limit: int) -> int:
        """Hand over the oldest events, forget those that are safe then, and count these.

        At most `limit`, and of one notification only the oldest, so that no event is announced before those
        that it follows are safe. Meanwhile nobody else is handed any: such a call returns zero. Whoever takes
        too long loses that right, and what was announced meanwhile is handed over again.
        """

    async def oldest(self) -> timedelta:
        """Return for how long the longest waiting event has waited; zero when none waits."""


@runtime_checkable
class Announcer(Protocol):
    """A broker that other systems read."""

    async def announce(self, events: Sequence[StatusEvent]) -> frozenset[int]:
        """Publish the events, in any order, and return the sequence numbers of those that are safe.

        Safe is what the broker has confirmed; whether anybody listens doesn't matter. Raises
        `BrokerUnavailableError` when it is out of reach. Cancelled, it leaves open which ones are safe.
        """
