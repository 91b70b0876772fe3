"""`Outbox`: which due notifications no queue holds."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.notification import Notification, NotificationId, Status
from tests.stores.house import LEASE, House
from tests.stores.making import a_notification, again, held, sent

HOLD = timedelta(minutes=1)
TRUST = timedelta(minutes=2)
A_MOMENT = timedelta(milliseconds=150)
PAUSE = 0.25
"""Seconds, longer than a moment."""


async def pending(house: House, count: int = 1) -> Sequence[Notification]:
    return await house.add(
        *(a_notification(now=house.store.now(), status=Status.PENDING) for _ in range(count))
    )


async def taken(house: House, count: int = 1) -> Sequence[Notification]:
    await pending(house, count)
    return await house.outbox.take(limit=count, hold=HOLD)


async def queued(house: House, count: int = 1, *, trust: timedelta = TRUST) -> Sequence[Notification]:
    those = await taken(house, count)
    await house.outbox.mark_queued(those, trust=trust)
    return those


def ids(notifications: Sequence[Notification]) -> set[NotificationId]:
    return {each.id for each in notifications}


class TakingConformance:
    """`take` and `release`."""

    async def test_what_is_due_and_held_by_nobody_is_taken_whole(self, house: House) -> None:
        [one] = await pending(house)

        [found] = await house.outbox.take(limit=10, hold=HOLD)

        assert found == one

    async def test_what_was_taken_is_nobody_elses_until_its_hold_ends(self, house: House) -> None:
        [one] = await pending(house)
        await house.outbox.take(limit=10, hold=A_MOMENT)
        assert list(await house.outbox.take(limit=10, hold=HOLD)) == []

        await asyncio.sleep(PAUSE)

        assert ids(await house.outbox.take(limit=10, hold=HOLD)) == {one.id}

    @pytest.mark.parametrize("status", [each for each in Status if each is not Status.PENDING])
    async def test_only_what_is_pending_is_taken(self, house: House, status: Status) -> None:
        one = await house.add_one()
        await house.set(one.id, status=status.value)

        assert list(await house.outbox.take(limit=10, hold=HOLD)) == []

    async def test_what_is_due_later_or_past_its_expiry_is_not_taken(self, house: House) -> None:
        now = house.store.now()
        await house.add_one(status=Status.PENDING, due_at=now + timedelta(minutes=1))
        await house.add_one(status=Status.PENDING, expires_at=now - timedelta(seconds=1))

        assert list(await house.outbox.take(limit=10, hold=HOLD)) == []

    async def test_the_most_urgent_come_first_then_the_longest_due(self, house: House) -> None:
        now = house.store.now()
        order = [(10, 1), (5, 9), (5, 3), (1, 60)]
        for priority, seconds in reversed(order):
            due_at = now - timedelta(seconds=seconds)
            await house.add_one(status=Status.PENDING, priority=priority, due_at=due_at)

        first = await house.outbox.take(limit=3, hold=HOLD)
        rest = await house.outbox.take(limit=3, hold=HOLD)

        found = [(each.priority, round((now - each.due_at).total_seconds())) for each in [*first, *rest]]
        assert found == order

    async def test_at_most_the_limit_is_taken(self, house: House) -> None:
        await pending(house, 7)

        counts = [len(await house.outbox.take(limit=3, hold=HOLD)) for _ in range(4)]

        assert counts == [3, 3, 1, 0]

    async def test_what_is_held_can_be_claimed_all_the_same(self, house: House) -> None:
        """Its message may be quicker than the mark."""
        [one] = await taken(house)

        assert (await house.claim_one()).notification.id == one.id

    async def test_what_was_released_may_be_taken_at_once(self, house: House) -> None:
        those = await taken(house, 3)

        await house.outbox.release(those[:2])

        assert ids(await house.outbox.take(limit=10, hold=HOLD)) == ids(those[:2])

    async def test_what_is_in_the_queue_is_not_released(self, house: House) -> None:
        those = await queued(house)

        await house.outbox.release(those)

        assert await house.status(those[0].id) is Status.QUEUED
        assert list(await house.outbox.take(limit=10, hold=HOLD)) == []

    async def test_a_worker_is_not_robbed_by_a_release(self, house: House) -> None:
        those = await taken(house)
        claim = await house.claim_one()

        await house.outbox.release(those)

        assert (await house.row(claim.notification.id)).lease_until is not None


class QueuedConformance:
    """`mark_queued`, `distrust` and `adopt`."""

    async def test_what_the_queue_holds_is_queued_and_no_longer_taken(self, house: House) -> None:
        those = await taken(house, 3)

        await house.outbox.mark_queued(those, trust=TRUST)

        assert {await house.status(each.id) for each in those} == {Status.QUEUED}
        assert list(await house.outbox.take(limit=10, hold=HOLD)) == []
        assert len(await house.claim()) == 3

    async def test_nothing_is_marked_released_or_distrusted_when_nothing_is_named(self, house: House) -> None:
        await queued(house, trust=timedelta())
        await pending(house)

        await house.outbox.mark_queued([], trust=TRUST)
        await house.outbox.release([])

        assert await house.outbox.distrust([], limit=10) == 0
        assert len(await house.outbox.take(limit=10, hold=HOLD)) == 1

    async def test_what_no_publisher_holds_is_not_marked(self, house: House) -> None:
        """A mark that comes long after: another relay has let go of it, or was never asked."""
        those = await pending(house)

        await house.outbox.mark_queued(those, trust=TRUST)

        assert await house.status(those[0].id) is Status.PENDING

    @pytest.mark.parametrize("status", [each for each in Status if each is not Status.PENDING])
    async def test_what_is_no_longer_pending_is_left_alone(self, house: House, status: Status) -> None:
        those = await taken(house)
        await house.set(those[0].id, status=status.value)
        before = await house.row(those[0].id)

        await house.outbox.mark_queued(those, trust=TRUST)

        assert await house.row(those[0].id) == before

    async def test_what_was_tried_since_it_was_taken_is_left_alone(self, house: House) -> None:
        """A slow mark must not hide a retry from the relays, nor one that a relay has just taken."""
        those = await taken(house)
        await house.store.settle([again(await house.claim_one())])
        await house.outbox.mark_queued(those, trust=TRUST)
        assert await house.status(those[0].id) is Status.PENDING
        [now] = await house.outbox.take(limit=10, hold=HOLD)

        await house.outbox.mark_queued(those, trust=TRUST)
        assert await house.status(now.id) is Status.PENDING

        await house.outbox.mark_queued([now], trust=TRUST)
        assert await house.status(now.id) is Status.QUEUED

    async def test_what_a_worker_put_off_is_left_alone(self, house: House) -> None:
        those = await taken(house)
        await house.store.settle([held(await house.claim_one())])

        await house.outbox.mark_queued(those, trust=TRUST)

        assert await house.status(those[0].id) is Status.PENDING

    async def test_first_tries_and_retries_are_marked_in_one_call(self, house: House) -> None:
        await pending(house, 2)
        await house.store.settle([again(each) for each in await house.claim()])
        await pending(house, 2)
        those = await house.outbox.take(limit=10, hold=HOLD)

        await house.outbox.mark_queued(those, trust=TRUST)

        assert sorted(each.attempts for each in those) == [0, 0, 1, 1]
        assert {await house.status(each.id) for each in those} == {Status.QUEUED}

    async def test_what_the_queue_is_trusted_with_stays_queued(self, house: House) -> None:
        await queued(house)

        assert await house.outbox.distrust(CHANNEL_TYPES, limit=10) == 0

    async def test_what_was_trusted_for_too_long_is_published_again(self, house: House) -> None:
        those = await queued(house, 2, trust=A_MOMENT)
        assert await house.outbox.distrust(["email"], limit=10) == 0

        await asyncio.sleep(PAUSE)

        assert await house.outbox.distrust(["email"], limit=10) == 2
        assert ids(await house.outbox.take(limit=10, hold=HOLD)) == ids(those)

    async def test_other_channels_keep_their_trust(self, house: House) -> None:
        await queued(house, trust=timedelta())

        assert await house.outbox.distrust(["sms", "push"], limit=10) == 0

    async def test_those_distrusted_first_are_the_longest_trusted(self, house: House) -> None:
        first = await queued(house, trust=timedelta(seconds=-2))
        await queued(house, trust=timedelta(seconds=-1))

        assert await house.outbox.distrust(["email"], limit=1) == 1

        assert ids(await house.outbox.take(limit=10, hold=HOLD)) == ids(first)

    async def test_at_most_the_limit_is_distrusted_and_adopted(self, house: House) -> None:
        await queued(house, 5, trust=timedelta())
        await house.add(*(a_notification() for _ in range(5)))

        distrusted = [await house.outbox.distrust(["email"], limit=3) for _ in range(3)]
        adopted = [await house.outbox.adopt(limit=3) for _ in range(3)]

        assert distrusted == adopted == [3, 2, 0]

    async def test_what_a_worker_has_or_is_done_is_not_distrusted(self, house: House) -> None:
        await queued(house, 2, trust=timedelta())
        claims = await house.claim(lease=LEASE)
        await house.store.settle([sent(claims[0])])

        assert await house.outbox.distrust(["email"], limit=10) == 0

    async def test_what_was_accepted_while_the_table_was_the_queue_is_adopted(self, house: House) -> None:
        one = await house.add_one(status=Status.QUEUED)

        assert await house.outbox.adopt(limit=10) == 1

        assert ids(await house.outbox.take(limit=10, hold=HOLD)) == {one.id}

    async def test_what_a_broker_holds_is_not_adopted(self, house: House) -> None:
        await queued(house, trust=timedelta())
        await taken(house)

        assert await house.outbox.adopt(limit=10) == 0

    async def test_callers_at_once_never_take_the_same(self, house: House) -> None:
        those = await pending(house, 60)
        other = await house.another()

        found = await asyncio.gather(*(each.outbox.take(limit=10, hold=HOLD) for each in (house, other) * 4))

        assert sorted(one.id for some in found for one in some) == sorted(ids(those))
