"""`NotificationArchive`: looking at notifications, and what people ask for."""

import asyncio
from datetime import timedelta

import pytest

from notification_service.domain.filters import DeadLetterFilter, NotificationFilter
from notification_service.domain.notification import (
    Notification,
    NotificationId,
    Outcome,
    Reason,
    Status,
)
from tests.stores.house import House
from tests.stores.making import a_notification, again, dead, lost, lost_for_good, new_id, sent

EVERYTHING = NotificationFilter()
NOT_WAITING = [status for status in Status if status not in {Status.PENDING, Status.QUEUED}]
NOT_FAILED = [status for status in Status if status is not Status.FAILED]


async def ids_of_all_pages(
    house: House, where: NotificationFilter = EVERYTHING, *, limit: int = 3
) -> list[NotificationId]:
    found: list[NotificationId] = []
    while True:
        page = await house.archive.find(where, limit=limit, after=found[-1] if found else None)
        found += [one.id for one in page.rows]
        if not page.has_more:
            return found


class LookingConformance:
    """`get`, `find`, `page` and `history`."""

    async def test_what_is_not_there_is_none(self, house: House) -> None:
        assert await house.archive.get(new_id()) is None
        assert list(await house.archive.history(new_id())) == []

    async def test_many_are_got_at_once_and_what_is_not_there_is_left_out(self, house: House) -> None:
        added = await house.add(*(a_notification() for _ in range(3)))
        wanted = [added[0].id, new_id(), added[2].id]

        found = await house.archive.get_many(wanted)

        assert sorted(found, key=lambda one: one.id) == [await house.get(added[at].id) for at in (0, 2)]
        assert list(await house.archive.get_many([])) == []

    async def test_the_newest_come_first(self, house: House) -> None:
        added = [await house.add_one() for _ in range(5)]

        page = await house.archive.find(EVERYTHING, limit=10)

        assert [one.id for one in page.rows] == [one.id for one in reversed(added)]
        assert not page.has_more

    @pytest.mark.parametrize(("stored", "has_more"), [(2, False), (3, False), (4, True)])
    async def test_a_page_tells_whether_there_are_more(
        self, house: House, stored: int, has_more: bool
    ) -> None:
        await house.add(*(a_notification() for _ in range(stored)))

        page = await house.archive.find(EVERYTHING, limit=3)

        assert len(page.rows) == min(stored, 3)
        assert page.has_more is has_more

    async def test_pages_together_are_everything_once(self, house: House) -> None:
        added = await house.add(*(a_notification() for _ in range(20)))

        found = await ids_of_all_pages(house)

        assert found == sorted((one.id for one in added), reverse=True)

    async def test_pages_never_skip_or_repeat_while_rows_are_added(self, house: House) -> None:
        """Whoever reads on sees exactly what was there at the first page."""
        other = await house.another()
        there = {one.id for one in await house.add(*(a_notification() for _ in range(30)))}
        found: list[NotificationId] = []
        has_more = True
        while has_more:
            page = await house.archive.find(EVERYTHING, limit=4, after=found[-1] if found else None)
            found += [one.id for one in page.rows]
            has_more = page.has_more

            await other.add(*(a_notification() for _ in range(3)))

        assert len(found) == len(set(found))
        assert set(found) == there

    @pytest.mark.parametrize(
        "where",
        [
            NotificationFilter(user_id="bob"),
            NotificationFilter(statuses=frozenset({Status.SENT, Status.CANCELLED})),
            NotificationFilter(channel="sms"),
            NotificationFilter(reference="order-7"),
            NotificationFilter(user_id="bob", channel="sms"),
            NotificationFilter(user_id="bob", statuses=frozenset({Status.SENT}), reference="order-7"),
        ],
    )
    async def test_a_filter_finds_what_matches_and_nothing_else(
        self, house: House, where: NotificationFilter
    ) -> None:
        expected = [one.id for one in await self._a_mixture(house) if self._matches(one, where)]

        found = await ids_of_all_pages(house, where)

        assert found == sorted(expected, reverse=True)
        assert found
        numbered, total = await house.archive.page(where, number=1, size=100)
        assert [one.id for one in numbered] == found
        assert total == len(found)

    async def test_an_empty_filter_value_does_not_narrow(self, house: House) -> None:
        mixture = await self._a_mixture(house)

        found = await ids_of_all_pages(house, NotificationFilter(statuses=frozenset()), limit=100)

        assert len(found) == len(mixture)

    async def test_times_in_a_filter_are_inclusive(self, house: House) -> None:
        now = house.store.now()
        moments = [now - timedelta(hours=hours) for hours in (3, 2, 1, 0)]
        added = [await house.add_one(created_at=moment) for moment in moments]
        where = NotificationFilter(created_after=moments[1], created_before=moments[2])

        found = await ids_of_all_pages(house, where)

        assert found == [added[2].id, added[1].id]

    async def test_a_time_filter_finds_what_another_machines_clock_stamped(self, house: House) -> None:
        """Ids begin with the time of the process that made them, rows carry the database's."""
        hours_off = house.store.now() - timedelta(hours=20)
        one = await house.add_one(created_at=hours_off)
        where = NotificationFilter(created_after=hours_off, created_before=hours_off)

        assert await ids_of_all_pages(house, where) == [one.id]

    @pytest.mark.parametrize(
        ("number", "places"),
        [(1, [6, 5, 4]), (2, [3, 2, 1]), (3, [0]), (4, []), (1000, [])],
    )
    async def test_a_numbered_page_holds_its_stretch_newest_first(
        self, house: House, number: int, places: list[int]
    ) -> None:
        added = await house.add(*(a_notification() for _ in range(7)))
        ids = sorted(one.id for one in added)

        rows, total = await house.archive.page(EVERYTHING, number=number, size=3)

        assert [one.id for one in rows] == [ids[at] for at in places]
        assert total == 7

    @pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 100])
    async def test_numbered_pages_together_are_everything_once(self, house: House, size: int) -> None:
        added = await house.add(*(a_notification() for _ in range(6)))
        pages = [await house.archive.page(EVERYTHING, number=number, size=size) for number in range(1, 8)]

        found = [one.id for rows, _ in pages for one in rows]

        assert found == sorted((one.id for one in added), reverse=True)

    async def test_a_numbered_page_of_nothing_is_empty(self, house: House) -> None:
        rows, total = await house.archive.page(EVERYTHING, number=1, size=20)

        assert (list(rows), total) == ([], 0)

    async def _a_mixture(self, house: House) -> list[Notification]:
        added = []
        for at in range(24):
            one = await house.add_one(
                user_id=("ann", "bob")[at % 2],
                channel_type=("email", "sms", "push")[at % 3],
                reference=("order-7", None, "Order-7", "order-70")[at // 6],
            )
            status = (Status.QUEUED, Status.SENT, Status.SENT, Status.CANCELLED)[at % 4]
            await house.set(one.id, status=status.value)
            added.append(await house.get(one.id))
        return added

    @staticmethod
    def _matches(one: Notification, where: NotificationFilter) -> bool:
        return (
            where.user_id in {None, one.user_id}
            and (not where.statuses or one.status in where.statuses)
            and where.channel in {None, one.channel_type}
            and where.reference in {None, one.reference}
        )


class InterveningConformance:
    """`cancel` and `retry`."""

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED])
    async def test_a_waiting_notification_can_be_cancelled(self, house: House, status: Status) -> None:
        one = await house.add_one(status=status)

        cancelled = await house.archive.cancel(one.id)

        assert cancelled == await house.get(one.id)
        assert cancelled is not None
        assert (cancelled.status, cancelled.status_reason) == (Status.CANCELLED, Reason.CANCELLED_BY_USER)
        [line] = await house.archive.history(one.id)
        assert (line.kind, line.outcome) == ("decision", Outcome.CANCELLED)

    @pytest.mark.parametrize("status", NOT_WAITING)
    async def test_what_no_longer_waits_cannot_be_cancelled(self, house: House, status: Status) -> None:
        """A second cancel included."""
        one = await house.add_one()
        await house.set(one.id, status=status.value)
        before = await house.row(one.id)

        cancelled = await house.archive.cancel(one.id)

        assert cancelled is None
        assert await house.row(one.id) == before
        assert list(await house.archive.history(one.id)) == []

    async def test_what_is_not_there_can_be_neither_cancelled_nor_retried(self, house: House) -> None:
        assert await house.archive.cancel(new_id()) is None
        assert await house.archive.retry(new_id(), by="root", status=Status.QUEUED) is None

    async def test_a_cancelled_notification_is_never_claimed(self, house: House) -> None:
        one = await house.add_one()
        await house.archive.cancel(one.id)

        assert list(await house.claim()) == []

    async def test_cancel_and_claim_racing_never_both_win(self, house: House) -> None:
        other = await house.another()
        many = await house.add(*(a_notification() for _ in range(40)))

        cancelled, claimed = await asyncio.gather(
            asyncio.gather(*(other.archive.cancel(one.id) for one in many)),
            asyncio.gather(*(house.claim(limit=5) for _ in range(8))),
        )

        taken = {claim.notification.id for claims in claimed for claim in claims}
        stopped = {one.id for one in cancelled if one}
        assert not taken & stopped
        for one in many:
            status = await house.status(one.id)
            expected = Status.CANCELLED if one.id in stopped else Status.SENDING
            assert status is (expected if one.id in taken | stopped else Status.QUEUED)

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED])
    async def test_a_failed_notification_is_due_now_again_as_told(self, house: House, status: Status) -> None:
        dead_one = await house.add_dead()
        before = house.store.now()

        retried = await house.archive.retry(dead_one.id, by="root", status=status)

        await house.store.check()
        assert retried == await house.get(dead_one.id)
        assert retried is not None
        assert (retried.status, retried.status_reason) == (status, None)
        assert before - timedelta(milliseconds=50) <= retried.due_at <= house.store.now()
        assert (await house.claim_one()).notification.id == dead_one.id

    async def test_a_retry_grants_a_fresh_budget_while_the_count_goes_on(self, house: House) -> None:
        await house.add_one()
        for _ in range(3):
            await house.store.settle([again(await house.claim_one())])
        last = await house.claim_one()
        await house.store.settle([dead(last)])

        await house.archive.retry(last.notification.id, by="root", status=Status.QUEUED)

        claim = await house.claim_one()
        assert (claim.attempt, claim.attempts_in_budget) == (5, 0)
        await house.store.settle([sent(claim)])
        one = await house.get(claim.notification.id)
        assert (one.attempts, one.retry_count) == (5, 4)

    async def test_a_retry_redrives_the_dead_letter_by_name(self, house: House) -> None:
        one = await house.add_dead()

        await house.archive.retry(one.id, by="root", status=Status.QUEUED)

        [letter] = (await house.dead_letters.find(DeadLetterFilter(redriven=True), limit=10)).rows
        assert letter.notification_id == one.id
        assert letter.redriven_by == "root"
        assert letter.redriven_at is not None
        last = (await house.archive.history(one.id))[-1]
        assert (last.kind, last.outcome) == ("decision", Outcome.REDRIVEN)

    async def test_a_retry_leaves_the_dead_letters_of_others_open(self, house: House) -> None:
        first, second = await house.add_dead(), await house.add_dead()

        await house.archive.retry(first.id, by="root", status=Status.QUEUED)

        [letter] = (await house.dead_letters.find(DeadLetterFilter(), limit=10)).rows
        assert letter.notification_id == second.id

    @pytest.mark.parametrize("status", NOT_FAILED)
    async def test_what_has_not_failed_cannot_be_retried(self, house: House, status: Status) -> None:
        one = await house.add_dead()
        await house.set(one.id, status=status.value)
        before = await house.row(one.id), await house.archive.history(one.id)

        retried = await house.archive.retry(one.id, by="root", status=Status.QUEUED)

        assert retried is None
        assert (await house.row(one.id), await house.archive.history(one.id)) == before
        assert len((await house.dead_letters.find(DeadLetterFilter(), limit=10)).rows) == 1

    async def test_many_retries_at_once_grant_one(self, house: House) -> None:
        other = await house.another()
        one = await house.add_dead()

        results = await asyncio.gather(
            *(
                (house, other)[at % 2].archive.retry(one.id, by="root", status=Status.QUEUED)
                for at in range(8)
            )
        )

        assert sum(result is not None for result in results) == 1
        outcomes = [line.outcome for line in await house.archive.history(one.id)]
        assert outcomes.count(Outcome.REDRIVEN) == 1

    async def test_a_late_ending_after_a_retry_changes_nothing(self, house: House) -> None:
        """The slow worker of a claim that was found lost, given up and retried by hand."""
        slow = await house.add_and_claim()
        await house.store.settle([lost_for_good(await house.lose(slow))])
        await house.archive.retry(slow.notification.id, by="root", status=Status.QUEUED)
        before = await house.row(slow.notification.id)

        effective = await house.store.settle([sent(slow)])

        assert effective == frozenset()
        assert await house.row(slow.notification.id) == before
        assert await house.store.settle([lost(slow)]) == frozenset()
