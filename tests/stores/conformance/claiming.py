"""`NotificationStore`: who may send what, and when."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from notification_service.adapters.stores.sql.tables import notifications
from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import NotificationId, Status
from tests.stores.house import LEASE, House
from tests.stores.making import a_notification, again, new_id, sent

A_MOMENT = timedelta(milliseconds=200)


class ClaimingConformance:
    """`claim` and `lost_claims`."""

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED])
    async def test_a_due_notification_becomes_sending(self, house: House, status: Status) -> None:
        one = await house.add_one(status=status)

        [claim] = await house.claim()

        assert claim.notification.id == one.id
        assert claim.notification.status is Status.SENDING
        assert await house.status(one.id) is Status.SENDING

    async def test_a_claim_carries_the_whole_notification(self, house: House) -> None:
        one = await house.add_one(metadata={"a": {"b": [1, None]}}, reference="order-7", body="héllo")

        claim = await house.claim_one()

        now = await house.get(one.id)
        assert claim.notification == now
        assert (claim.notification.metadata, claim.notification.body) == (one.metadata, one.body)

    async def test_a_first_claim_is_for_attempt_one_of_a_whole_budget(self, house: House) -> None:
        claim = await house.add_and_claim()

        assert (claim.attempt, claim.attempts_in_budget) == (1, 0)

    async def test_each_claim_has_an_epoch_of_its_own(self, house: House) -> None:
        first = await house.add_and_claim()
        await house.store.settle([again(first)])

        second = await house.claim_one()

        assert second.epoch > first.epoch
        assert (second.attempt, second.attempts_in_budget) == (2, 1)

    async def test_a_claim_is_stamped_by_the_databases_clock(self, house: House) -> None:
        before = house.store.now()

        claim = await house.add_and_claim()

        await house.store.check()
        assert before <= claim.claimed_at <= house.store.now() + timedelta(milliseconds=50)

    @pytest.mark.parametrize(
        "status",
        [
            Status.SENDING,
            Status.SENT,
            Status.DELIVERED,
            Status.FAILED,
            Status.CANCELLED,
            Status.SUPPRESSED,
            Status.EXPIRED,
        ],
    )
    async def test_what_is_no_longer_waiting_is_never_claimed(self, house: House, status: Status) -> None:
        one = await house.add_one()
        await house.set(one.id, status=status.value)

        assert list(await house.claim()) == []
        assert list(await house.store.claim("email", limit=5, lease=LEASE, ids=[one.id])) == []

    async def test_what_is_not_yet_due_is_never_claimed(self, house: House) -> None:
        one = await house.add_one(due_at=house.store.now() + timedelta(minutes=1))

        assert list(await house.claim()) == []
        assert list(await house.store.claim("email", limit=5, lease=LEASE, ids=[one.id])) == []

    async def test_what_falls_due_is_claimed(self, house: House) -> None:
        one = await house.add_one(due_at=house.store.now() + A_MOMENT)
        early = await house.claim()

        await asyncio.sleep(A_MOMENT.total_seconds() + 0.02)

        assert list(early) == []
        assert (await house.claim_one()).notification.id == one.id

    async def test_what_is_expired_is_never_claimed(self, house: House) -> None:
        one = await house.add_one(expires_at=house.store.now() - timedelta(seconds=1))
        other = await house.add_one(expires_at=house.store.now() + timedelta(minutes=1))

        ids = [claim.notification.id for claim in await house.claim()]

        assert ids == [other.id]
        assert await house.status(one.id) is Status.QUEUED

    async def test_only_the_asked_channel_is_claimed(self, house: House) -> None:
        for channel in ("email", "sms", "push"):
            await house.add_one(channel_type=channel)

        [claim] = await house.store.claim("sms", limit=10, lease=LEASE)

        assert claim.notification.channel_type == "sms"

    async def test_the_most_urgent_come_first_then_the_longest_due(self, house: House) -> None:
        now = house.store.now()
        wanted = [(10, 1), (9, 60), (5, 30), (5, 20), (5, 10), (1, 3600)]
        for priority, seconds in [wanted[at] for at in (3, 5, 0, 4, 1, 2)]:
            await house.add_one(priority=priority, due_at=now - timedelta(seconds=seconds))

        claims = await house.claim()

        got = [(each.notification.priority, each.notification.due_at) for each in claims]
        assert got == [(priority, now - timedelta(seconds=seconds)) for priority, seconds in wanted]

    async def test_the_limit_leaves_the_less_urgent_behind(self, house: House) -> None:
        now = house.store.now()
        for priority in (1, 5, 10):
            for seconds in (1, 2, 3):
                await house.add_one(priority=priority, due_at=now - timedelta(seconds=seconds))

        claims = await house.claim(limit=4)

        got = [(each.notification.priority, (now - each.notification.due_at).seconds) for each in claims]
        assert got == [(10, 3), (10, 2), (10, 1), (5, 3)]

    async def test_with_ids_only_those_are_claimed(self, house: House) -> None:
        many = [await house.add_one() for _ in range(5)]
        wanted = [many[3].id, new_id(), many[1].id]

        claims = await house.store.claim("email", limit=10, lease=LEASE, ids=wanted)

        assert {claim.notification.id for claim in claims} == {many[3].id, many[1].id}
        assert await house.status(many[0].id) is Status.QUEUED

    async def test_with_ids_the_limit_takes_the_most_urgent_first(self, house: House) -> None:
        """Also from so long a backlog that the ids are the shorter way."""
        await house.add(*(a_notification() for _ in range(2_000)))
        await house.analyze()
        many = [await house.add_one(priority=priority) for priority in (1, 9, 2, 8, 3, 7)]

        claims = await house.store.claim("email", limit=3, lease=LEASE, ids=[each.id for each in many])

        assert [claim.notification.priority for claim in claims] == [9, 8, 7]

    async def test_with_no_ids_at_all_nothing_is_claimed(self, house: House) -> None:
        await house.add_one()

        assert list(await house.store.claim("email", limit=10, lease=LEASE, ids=[])) == []

    async def test_a_backlog_due_later_does_not_hide_what_is_due(self, house: House) -> None:
        """However urgent that backlog is."""
        now = house.store.now()
        later = [a_notification(priority=10, due_at=now + timedelta(hours=1)) for _ in range(300)]
        await house.add(*later)
        due = await house.add_one(priority=1)

        [claim] = await house.claim(limit=5)

        assert claim.notification.id == due.id

    async def test_no_notification_is_claimed_twice_while_its_lease_holds(self, house: House) -> None:
        await house.add_and_claim()

        assert list(await house.claim()) == []
        assert list(await house.store.lost_claims(limit=10)) == []

    async def test_two_processes_claiming_at_once_never_get_the_same(self, house: House) -> None:
        """Nor does one stay behind."""
        other = await house.another()
        stored = await house.add(*(a_notification() for _ in range(400)))
        claimed: Counter[NotificationId] = Counter()

        async def work(each: House, limit: int) -> None:
            while claims := await each.claim(limit=limit):
                claimed.update(claim.notification.id for claim in claims)

        await asyncio.gather(*(work(each, limit) for each in (house, other) for limit in (1, 7, 20, 50)))

        # A claimer may meet only rows that others hold and stop; what is left is nobody's.
        claimed.update(claim.notification.id for claim in await house.claim(limit=400))
        assert set(claimed) == {one.id for one in stored}
        assert max(claimed.values()) == 1

    async def test_claims_and_settlements_crossing_never_hand_one_out_twice_at_a_time(
        self, house: House
    ) -> None:
        """Rows come back at once, so that snapshots are old all the time."""
        other = await house.another()
        await house.add(*(a_notification() for _ in range(20)))
        in_hand: set[NotificationId] = set()
        claims_made = 0

        async def work(each: House) -> None:
            nonlocal claims_made
            for _ in range(12):
                claims = await each.claim(limit=7)
                ids = {claim.notification.id for claim in claims}
                assert not ids & in_hand
                in_hand.update(ids)
                claims_made += len(ids)
                await asyncio.sleep(0)
                in_hand.difference_update(ids)
                if claims:
                    effective = await each.store.settle([again(claim) for claim in claims])
                    assert effective == ids

        await asyncio.gather(*(work(each) for each in (house, other) * 3))

        async with house.database.statement() as connection:
            attempts = (await connection.execute(select(func.sum(notifications.c.attempts)))).scalar_one()
        assert attempts == claims_made > 20

    async def test_a_lease_is_measured_by_the_databases_clock(self, house: House) -> None:
        claim = await house.add_and_claim()

        until = (await house.row(claim.notification.id)).lease_until

        assert until - claim.claimed_at == LEASE

    async def test_a_claim_is_lost_when_its_lease_has_run_out_and_not_before(self, house: House) -> None:
        await house.add_one()
        [claim] = await house.claim(lease=A_MOMENT)
        early = await house.store.lost_claims(limit=10)

        await asyncio.sleep(A_MOMENT.total_seconds() + 0.02)
        [found] = await house.store.lost_claims(limit=10)

        assert list(early) == []
        assert (found.notification.id, found.epoch) == (claim.notification.id, claim.epoch)

    async def test_lost_claims_come_the_longest_lost_first(self, house: House) -> None:
        claims = [await house.add_and_claim() for _ in range(4)]
        for claim, minutes in zip(claims, (2, 4, 1, 3), strict=True):
            await house.lease_ends(claim.notification.id, ago=timedelta(minutes=minutes))

        lost = await house.store.lost_claims(limit=3)

        expected = [claims[at].notification.id for at in (1, 3, 0)]
        assert [claim.notification.id for claim in lost] == expected

    async def test_a_settled_claim_is_never_lost(self, house: House) -> None:
        claim = await house.add_and_claim()
        await house.lease_ends(claim.notification.id, ago=timedelta(minutes=1))

        await house.store.settle([sent(claim)])

        assert list(await house.store.lost_claims(limit=10)) == []

    async def test_a_lost_claim_is_not_claimed_before_the_sweeper_has_ended_it(self, house: House) -> None:
        claim = await house.add_and_claim()
        await house.lease_ends(claim.notification.id, ago=timedelta(minutes=1))

        assert list(await house.claim()) == []

    @pytest.mark.parametrize("data", [{}, {"to": "x"}, {"type": "sms"}, [], "text", 7])
    async def test_what_is_stored_as_channel_is_of_the_rows_type_whatever_it_says(
        self, house: House, data: object
    ) -> None:
        """Other tools write the table too; a row that can't be read would block its whole channel."""
        one = await house.add_one()
        await house.set(one.id, channel_data=data)
        await house.add_one()

        claims = await house.claim()

        expected: ChannelType = "email"
        assert [claim.notification.channel_type for claim in claims] == [expected, expected]
