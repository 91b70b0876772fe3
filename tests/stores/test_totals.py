"""Long lists are counted once in a while; short ones each time."""

from notification_service.adapters.stores.sql.totals import WORTH_REMEMBERING, Totals
from notification_service.domain.filters import NotificationFilter


class Counter:
    """Counts a list that grows by one each time, and how often it was asked."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        self.size += 1
        return self.size


async def test_a_short_list_is_always_counted_anew() -> None:
    """A caller who adds a notification sees the total grow at once."""
    totals, count = Totals(), Counter(0)

    seen = [await totals.of(NotificationFilter(), count) for _ in range(3)]

    assert seen == [1, 2, 3]


async def test_a_long_list_is_counted_once_for_many_pages() -> None:
    """Leafing through a million rows costs one count."""
    totals, count = Totals(), Counter(WORTH_REMEMBERING)

    seen = [await totals.of(NotificationFilter(user_id="ann"), count) for _ in range(3)]

    assert count.asked == 1
    assert seen == [WORTH_REMEMBERING + 1] * 3


async def test_each_filter_has_a_total_of_its_own() -> None:
    """Ann's total is not Bob's."""
    totals = Totals()

    ann = await totals.of(NotificationFilter(user_id="ann"), Counter(WORTH_REMEMBERING))
    bob = await totals.of(NotificationFilter(user_id="bob"), Counter(1))

    assert (ann, bob) == (WORTH_REMEMBERING + 1, 2)
