"""`DeadLetterStore`: what is parked, and how it comes back."""

import asyncio
from datetime import timedelta

import pytest

from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import (
    DeadLetter,
    DeadLetterId,
    Outcome,
    Reason,
    Status,
)
from tests.stores.house import House
from tests.stores.making import a_notification, dead, new_id, sent

OPEN = DeadLetterFilter()
ALL = DeadLetterFilter(redriven=None)


async def letters(house: House, where: DeadLetterFilter = ALL) -> list[DeadLetter]:
    return list((await house.dead_letters.find(where, limit=10_000)).rows)


async def ids(house: House, where: DeadLetterFilter = ALL) -> list[DeadLetterId]:
    return [letter.id for letter in await letters(house, where)]


async def add_many_dead(house: House, count: int) -> list[DeadLetter]:
    """Return them, the oldest first."""
    await house.add(*(a_notification() for _ in range(count)))
    await house.store.settle([dead(claim) for claim in await house.claim(limit=count)])
    return (await letters(house))[::-1]


class DeadLetterConformance:
    """The sentences of `DeadLetterStore`."""

    many = 10_000
    """The most that one call may ask for."""

    async def test_one_is_got_by_its_id(self, house: House) -> None:
        [letter] = await add_many_dead(house, 1)

        assert await house.dead_letters.get(letter.id) == letter
        assert await house.dead_letters.get(DeadLetterId(new_id())) is None

    async def test_the_newest_come_first(self, house: House) -> None:
        dead_ones = [await house.add_dead() for _ in range(3)]

        found = await letters(house)

        assert [letter.notification_id for letter in found] == [one.id for one in reversed(dead_ones)]

    async def test_pages_never_skip_or_repeat_while_more_die(self, house: House) -> None:
        there = {letter.id for letter in await add_many_dead(house, 11)}
        found: list[DeadLetterId] = []
        has_more = True
        while has_more:
            page = await house.dead_letters.find(ALL, limit=3, after=found[-1] if found else None)
            found += [letter.id for letter in page.rows]
            has_more = page.has_more

            await house.add_dead()

        assert len(found) == len(set(found))
        assert set(found) == there

    async def test_filters_narrow_by_reason_channel_and_time(self, house: House) -> None:
        await house.add_dead()
        await house.add_one(channel_type="sms")
        [claim] = await house.store.claim("sms", limit=1, lease=timedelta(minutes=1))
        await house.store.settle([dead(claim, reason=Reason.RETRIES_EXHAUSTED)])
        second, first = await letters(house)

        found = [
            await ids(house, where)
            for where in (
                DeadLetterFilter(reason=Reason.RETRIES_EXHAUSTED),
                DeadLetterFilter(channel="email"),
                DeadLetterFilter(since=second.dead_at),
                DeadLetterFilter(until=first.dead_at),
                DeadLetterFilter(since=first.dead_at, until=second.dead_at),
                DeadLetterFilter(reason=Reason.RETRIES_EXHAUSTED, channel="email"),
            )
        ]

        assert first.dead_at < second.dead_at
        assert found == [[second.id], [first.id], [second.id], [first.id], [second.id, first.id], []]

    async def test_only_open_ones_are_shown_unless_asked_otherwise(self, house: House) -> None:
        first, second = await add_many_dead(house, 2)
        await house.dead_letters.redrive([first.id], by="root", status=Status.QUEUED)

        found = [await ids(house, DeadLetterFilter(redriven=redriven)) for redriven in (False, True, None)]

        assert found == [[second.id], [first.id], [second.id, first.id]]

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED])
    async def test_a_redriven_notification_is_due_now_as_told_with_a_fresh_budget(
        self, house: House, status: Status
    ) -> None:
        one = await house.add_dead()
        [letter] = await letters(house)

        [redriven] = await house.dead_letters.redrive([letter.id], by="root", status=status)

        assert redriven == await house.dead_letters.get(letter.id)
        assert redriven.redriven_by == "root"
        assert redriven.redriven_at is not None
        assert await house.status(one.id) is status
        claim = await house.claim_one()
        assert (claim.notification.id, claim.attempt, claim.attempts_in_budget) == (one.id, 2, 0)
        assert (await house.archive.history(one.id))[-1].outcome is Outcome.REDRIVEN

    async def test_one_redriven_already_is_left_alone(self, house: House) -> None:
        [letter] = await add_many_dead(house, 1)
        await house.dead_letters.redrive([letter.id], by="first", status=Status.QUEUED)

        again = await house.dead_letters.redrive([letter.id], by="second", status=Status.QUEUED)

        assert list(again) == []
        found = await house.dead_letters.get(letter.id)
        assert found is not None
        assert found.redriven_by == "first"

    async def test_one_whose_notification_is_no_longer_failed_is_left_alone(self, house: House) -> None:
        one = await house.add_dead()
        [letter] = await letters(house)
        await house.set(one.id, status="sent")

        redriven = await house.dead_letters.redrive([letter.id], by="root", status=Status.QUEUED)

        assert list(redriven) == []
        assert await ids(house, OPEN) == [letter.id]
        assert await house.status(one.id) is Status.SENT

    async def test_what_belongs_to_no_notification_is_kept_and_never_redriven(self, house: House) -> None:
        await house.park(
            id=new_id(),
            reason="provider_rejected",
            detail="no JSON",
            attempts=0,
            dead_at=house.store.now(),
            payload={"text": "?"},
        )
        [letter] = await letters(house)

        redriven = await house.dead_letters.redrive([letter.id], by="root", status=Status.QUEUED)
        matching = await house.dead_letters.redrive_matching(OPEN, by="root", status=Status.QUEUED, limit=9)

        assert (list(redriven), list(matching)) == ([], [])
        assert (letter.notification_id, letter.user_id, letter.channel) == (None, None, None)
        assert letter.payload == {"text": "?"}
        assert await ids(house, OPEN) == [letter.id]

    async def test_unknown_ids_and_none_at_all_redrive_nothing(self, house: House) -> None:
        await add_many_dead(house, 1)

        results = [
            await house.dead_letters.redrive(asked, by="root", status=Status.QUEUED)
            for asked in ([], [DeadLetterId(new_id())])
        ]

        assert [list(result) for result in results] == [[], []]
        assert len(await ids(house, OPEN)) == 1

    async def test_a_redriven_notification_that_fails_again_is_a_new_dead_letter(self, house: House) -> None:
        one = await house.add_dead()
        [first] = await letters(house)
        await house.dead_letters.redrive([first.id], by="root", status=Status.QUEUED)

        await house.store.settle([dead(await house.claim_one())])

        second, old = await letters(house)
        assert (old.id, second.notification_id) == (first.id, one.id)
        assert (old.attempts, second.attempts) == (1, 2)
        assert await ids(house, OPEN) == [second.id]

    async def test_an_old_letter_does_not_redrive_what_has_failed_again(self, house: House) -> None:
        """The new one does: whoever redrives knows the reason it tells."""
        one = await house.add_dead()
        [first] = await letters(house)
        await house.dead_letters.redrive([first.id], by="first", status=Status.QUEUED)
        await house.store.settle([dead(await house.claim_one())])

        redriven = await house.dead_letters.redrive([first.id], by="second", status=Status.QUEUED)

        assert list(redriven) == []
        assert await house.status(one.id) is Status.FAILED
        assert len(await ids(house, OPEN)) == 1

    async def test_a_redriven_notification_that_is_sent_leaves_no_open_letter(self, house: House) -> None:
        await house.add_dead()
        await house.dead_letters.redrive(await ids(house), by="root", status=Status.QUEUED)

        await house.store.settle([sent(await house.claim_one())])

        assert await ids(house, OPEN) == []

    async def test_matching_ones_are_redriven_the_oldest_first(self, house: House) -> None:
        oldest, middle, newest = await add_many_dead(house, 3)

        redriven = await house.dead_letters.redrive_matching(OPEN, by="root", status=Status.QUEUED, limit=2)

        assert [letter.id for letter in redriven] == [oldest.id, middle.id]
        assert {letter.redriven_by for letter in redriven} == {"root"}
        assert await ids(house, OPEN) == [newest.id]

    async def test_only_matching_ones_are_redriven(self, house: House) -> None:
        await add_many_dead(house, 2)
        where = DeadLetterFilter(reason=Reason.RETRIES_EXHAUSTED)

        redriven = await house.dead_letters.redrive_matching(where, by="root", status=Status.QUEUED, limit=10)

        assert list(redriven) == []
        assert len(await ids(house, OPEN)) == 2

    async def test_as_many_as_one_call_may_ask_for_are_redriven(self, house: House) -> None:
        await house.add(*(a_notification() for _ in range(self.many)))
        await house.kill_everything()

        redriven = await house.dead_letters.redrive_matching(
            OPEN, by="root", status=Status.QUEUED, limit=self.many
        )

        assert len(redriven) == self.many
        assert (await house.store.backlog()).queued == self.many

    async def test_redrives_at_once_share_the_letters_between_them(self, house: House) -> None:
        other = await house.another()
        there = await add_many_dead(house, 40)

        results = await asyncio.gather(
            *(
                each.dead_letters.redrive_matching(OPEN, by=str(at), status=Status.QUEUED, limit=15)
                for at, each in enumerate((house, other) * 3)
            ),
            house.dead_letters.redrive([letter.id for letter in there[::2]], by="ids", status=Status.QUEUED),
        )

        redriven = [letter.id for result in results for letter in result]
        assert len(redriven) == len(set(redriven))
        for letter in there:
            outcomes = [line.outcome for line in await house.archive.history(letter.notification_id)]
            assert outcomes.count(Outcome.REDRIVEN) == (letter.id in redriven)

    async def test_retry_and_redrive_at_once_grant_one_budget_and_do_not_block_each_other(
        self, house: House
    ) -> None:
        other = await house.another()
        async with asyncio.timeout(10):
            for _ in range(3):
                there = await add_many_dead(house, 12)
                there = [letter for letter in there if letter.redriven_at is None]

                results = await asyncio.gather(
                    *(
                        house.archive.retry(letter.notification_id, by="r", status=Status.QUEUED)
                        for letter in there
                    ),
                    other.dead_letters.redrive([each.id for each in there], by="d", status=Status.QUEUED),
                    other.dead_letters.redrive_matching(OPEN, by="d", status=Status.QUEUED, limit=100),
                )

                retried = sum(result is not None for result in results[:-2])
                assert retried + len(results[-1]) + len(results[-2]) == len(there)
                assert await ids(house, OPEN) == []
