"""`NotificationStore`: what claims led to."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import Claim, Outcome, Reason, Settlement, Status
from tests.stores.house import House
from tests.stores.making import (
    a_notification,
    again,
    dead,
    delivered,
    held,
    lost,
    lost_for_good,
    new_id,
    sent,
)

EVERY_ENDING = [sent, delivered, again, dead, held]
ALL = DeadLetterFilter(redriven=None)


class SettlingConformance:
    """`settle`."""

    async def test_a_sent_notification_tells_when(self, house: House) -> None:
        claim = await house.add_and_claim()
        before = house.store.now()

        effective = await house.store.settle([sent(claim)])

        one = await house.get(claim.notification.id)
        assert effective == {claim.notification.id}
        assert (one.status, one.status_reason, one.attempts, one.retry_count) == (Status.SENT, None, 1, 0)
        assert one.sent_at is not None
        assert before - timedelta(milliseconds=50) <= one.sent_at

    async def test_a_confirmed_notification_is_delivered(self, house: House) -> None:
        claim = await house.add_and_claim()

        await house.store.settle([delivered(claim)])

        one = await house.get(claim.notification.id)
        assert one.status is Status.DELIVERED
        assert one.sent_at is not None

    async def test_a_retry_is_due_after_its_delay_by_the_databases_clock(self, house: House) -> None:
        claim = await house.add_and_claim()
        before = house.store.now()

        await house.store.settle([again(claim, delay=timedelta(minutes=5))])

        await house.store.check()
        one = await house.get(claim.notification.id)
        assert (one.status, one.status_reason) == (Status.PENDING, Reason.RETRY_SCHEDULED)
        assert before <= one.due_at - timedelta(minutes=5) <= house.store.now()
        assert (one.attempts, one.retry_count, one.sent_at) == (1, 0, None)

    async def test_without_a_delay_the_due_time_stays(self, house: House) -> None:
        claim = await house.add_and_claim()

        await house.store.settle([sent(claim)])

        assert (await house.get(claim.notification.id)).due_at == claim.notification.due_at

    async def test_retries_count_the_attempts_after_the_first(self, house: House) -> None:
        await house.add_one()
        counts = []
        for _ in range(4):
            claim = await house.claim_one()
            await house.store.settle([again(claim)])
            one = await house.get(claim.notification.id)
            counts.append((one.attempts, one.retry_count))

        assert counts == [(1, 0), (2, 1), (3, 2), (4, 3)]

    async def test_a_decision_counts_as_no_attempt(self, house: House) -> None:
        claim = await house.add_and_claim()

        await house.store.settle([held(claim)])

        one = await house.get(claim.notification.id)
        assert (one.attempts, one.retry_count, one.status_reason) == (0, 0, Reason.QUIET_HOURS)

    async def test_each_settlement_is_a_line_of_history(self, house: House) -> None:
        claim = await house.add_and_claim()
        settlement = again(claim, delay=timedelta(minutes=5))

        await house.store.settle([settlement])

        [line] = await house.archive.history(claim.notification.id)
        due_at = (await house.get(claim.notification.id)).due_at
        assert line == replace(settlement.entry, next_attempt_at=due_at)

    async def test_history_is_told_oldest_first(self, house: House) -> None:
        await house.add_one()
        for ending in (again, again, held, dead):
            claim = await house.claim_one()
            await house.store.settle([ending(claim)])
            await house.set(claim.notification.id, due_at=claim.notification.due_at)

        lines = await house.archive.history(claim.notification.id)

        assert [line.outcome for line in lines] == [
            Outcome.TRANSIENT_ERROR,
            Outcome.TRANSIENT_ERROR,
            Outcome.HELD,
            Outcome.PERMANENT_ERROR,
        ]

    async def test_a_dead_letter_is_stored_with_its_settlement(self, house: House) -> None:
        claim = await house.add_and_claim(reference="order-7", metadata={"a": "b"})

        await house.store.settle([dead(claim)])

        page = await house.dead_letters.find(ALL, limit=10)
        [letter] = page.rows
        notification = await house.get(claim.notification.id)
        assert (notification.status, notification.attempts) == (Status.FAILED, 1)
        assert letter.notification_id == notification.id
        assert (letter.user_id, letter.channel, letter.attempts) == ("ann", "email", 1)
        assert (letter.reason, letter.detail) == (Reason.PROVIDER_REJECTED, "no such mailbox")
        assert (letter.redriven_at, letter.redriven_by) == (None, None)
        expected = {"body": notification.body, "channel": notification.channel, "metadata": {"a": "b"}}
        assert expected.items() <= letter.payload.items()

    async def test_nothing_to_settle_settles_nothing(self, house: House) -> None:
        assert await house.store.settle([]) == frozenset()

    async def test_a_whole_batch_is_settled_at_once(self, house: House) -> None:
        await house.add(*(a_notification() for _ in range(100)))
        claims = await house.claim(limit=100)
        endings = [EVERY_ENDING[at % len(EVERY_ENDING)] for at in range(100)]

        effective = await house.store.settle(
            [ending(claim) for ending, claim in zip(endings, claims, strict=True)]
        )

        assert len(effective) == 100
        page = await house.dead_letters.find(ALL, limit=100)
        assert len(page.rows) == endings.count(dead)
        for ending, claim in list(zip(endings, claims, strict=True))[:10]:
            assert await house.status(claim.notification.id) is ending(claim).status

    @pytest.mark.parametrize("ending", EVERY_ENDING)
    async def test_repeating_a_call_is_harmless(
        self, house: House, ending: Callable[[Claim], Settlement]
    ) -> None:
        """As after an answer that got lost: no second attempt, line or dead letter."""
        claim = await house.add_and_claim()
        settlement = ending(claim)
        await house.store.settle([settlement])
        before = await self._everything(house, claim)

        repeated = await house.store.settle([settlement])

        assert repeated == frozenset()
        assert await self._everything(house, claim) == before

    @pytest.mark.parametrize("ending", EVERY_ENDING)
    async def test_one_settlement_twice_in_a_call_counts_once(
        self, house: House, ending: Callable[[Claim], Settlement]
    ) -> None:
        claim = await house.add_and_claim()

        effective = await house.store.settle([ending(claim), ending(claim)])

        one = await house.get(claim.notification.id)
        assert effective == {claim.notification.id}
        assert one.attempts == (ending is not held)
        assert len(await house.archive.history(claim.notification.id)) == 1
        assert len((await house.dead_letters.find(ALL, limit=10)).rows) == (ending is dead)

    async def test_a_call_repeated_after_the_next_claim_is_harmless_too(self, house: House) -> None:
        """Its first run took effect, so it tells nothing new."""
        first = await house.add_and_claim()
        await house.store.settle([again(first)])
        second = await house.claim_one()
        before = await self._everything(house, second)

        repeated = await house.store.settle([again(first)])

        assert repeated == frozenset()
        assert await self._everything(house, second) == before

    async def test_equal_calls_at_once_take_effect_once(self, house: House) -> None:
        other = await house.another()
        await house.add(*(a_notification() for _ in range(30)))
        claims = await house.claim()
        settlements = [(dead, again)[at % 2](claim) for at, claim in enumerate(claims)]

        results = await asyncio.gather(*((house, other)[at % 2].store.settle(settlements) for at in range(6)))

        assert sum(len(effective) for effective in results) == 30
        assert len((await house.dead_letters.find(ALL, limit=100)).rows) == 15
        for claim in claims:
            assert (await house.get(claim.notification.id)).attempts == 1
            assert len(await house.archive.history(claim.notification.id)) == 1

    async def test_two_settlers_in_opposite_order_do_not_block_each_other(self, house: House) -> None:
        """As when a sweeper and slow workers end the same claims."""
        other = await house.another()
        async with asyncio.timeout(10):
            for _ in range(5):
                await house.add(*(a_notification() for _ in range(60)))
                claims = await house.claim()

                results = await asyncio.gather(
                    house.store.settle([again(claim, delay=timedelta(hours=1)) for claim in claims]),
                    other.store.settle(
                        [replace(lost(claim), delay=timedelta(hours=1)) for claim in claims[::-1]]
                    ),
                )

                assert sum(len(effective) for effective in results) == 60

    async def test_the_sweepers_settlement_ends_the_epoch(self, house: House) -> None:
        claim = await house.add_and_claim()
        found = await house.lose(claim)

        effective = await house.store.settle([lost(found)])

        one = await house.get(claim.notification.id)
        assert effective == {claim.notification.id}
        assert (one.status, one.status_reason) == (Status.PENDING, Reason.LEASE_EXPIRED)
        assert one.attempts == 1
        assert (await house.claim_one()).epoch > claim.epoch + 1

    @pytest.mark.parametrize("ending", EVERY_ENDING)
    async def test_a_late_ending_is_recorded_once_and_changes_nothing(
        self, house: House, ending: Callable[[Claim], Settlement]
    ) -> None:
        """Before the next claim; whoever reports it may report it again."""
        claim = await house.add_and_claim()
        await house.store.settle([lost(await house.lose(claim))])
        before = await house.row(claim.notification.id)

        results = [await house.store.settle([ending(claim)]) for _ in range(3)]

        lines = await house.archive.history(claim.notification.id)
        assert results == [frozenset()] * 3
        assert await house.row(claim.notification.id) == before
        assert [line.outcome for line in lines] == [Outcome.UNKNOWN, ending(claim).entry.outcome]
        assert (await house.dead_letters.find(ALL, limit=10)).rows == ()

    async def test_a_late_ending_says_so(self, house: House) -> None:
        claim = await house.add_and_claim()
        await house.store.settle([lost(await house.lose(claim))])

        await house.store.settle([sent(claim)])

        late = (await house.archive.history(claim.notification.id))[-1]
        assert (late.outcome, late.error_code, late.next_attempt_at) == (
            Outcome.DELIVERED,
            "lease_lost",
            None,
        )

    async def test_a_late_failure_says_so_too_and_keeps_its_own_reason(self, house: House) -> None:
        """Else it would read like an attempt that counted."""
        claim = await house.add_and_claim()
        await house.store.settle([lost(await house.lose(claim))])

        await house.store.settle([again(claim)])

        late = (await house.archive.history(claim.notification.id))[-1]
        entry = again(claim).entry
        assert late.error_code == "lease_lost"
        assert late.detail == f"{entry.error_code}: {entry.detail}"

    async def test_a_late_ending_changes_nothing_for_the_next_claim(self, house: House) -> None:
        slow = await house.add_and_claim()
        await house.store.settle([lost(await house.lose(slow))])
        second = await house.claim_one()

        late = await house.store.settle([dead(slow)])
        effective = await house.store.settle([sent(second)])

        one = await house.get(second.notification.id)
        assert (late, effective) == (frozenset(), {one.id})
        assert (one.status, one.attempts, one.retry_count) == (Status.SENT, 2, 1)
        outcomes = [line.outcome for line in await house.archive.history(one.id)]
        assert outcomes == [Outcome.UNKNOWN, Outcome.PERMANENT_ERROR, Outcome.DELIVERED]

    async def test_an_ending_that_races_the_sweeper_is_never_forgotten(self, house: House) -> None:
        """One of the two takes effect; what the worker knows stands in the history either way."""
        other = await house.another()
        await house.add(*(a_notification() for _ in range(60)))
        claims = await house.claim()

        swept, settled = await asyncio.gather(
            other.store.settle([lost(claim) for claim in claims]),
            house.store.settle([sent(claim) for claim in claims]),
        )

        assert swept | settled == {claim.notification.id for claim in claims}
        assert not swept & settled
        for claim in claims:
            outcomes = [line.outcome for line in await house.archive.history(claim.notification.id)]
            assert Outcome.DELIVERED in outcomes

    async def test_a_claim_settled_in_time_is_not_lost_however_old_its_lease(self, house: House) -> None:
        """Between the lease's end and the sweeper's visit the worker still holds it."""
        claim = await house.add_and_claim()
        found = await house.lose(claim)

        first = await house.store.settle([sent(claim)])
        second = await house.store.settle([lost(found)])

        assert (first, second) == ({claim.notification.id}, frozenset())
        assert await house.status(claim.notification.id) is Status.SENT
        assert len(await house.archive.history(claim.notification.id)) == 1

    async def test_two_sweepers_end_a_claim_once(self, house: House) -> None:
        claim = await house.add_and_claim()
        found = await house.lose(claim)

        results = [await house.store.settle([lost_for_good(found)]) for _ in range(2)]

        assert [len(each) for each in results] == [1, 0]
        assert len(await house.archive.history(claim.notification.id)) == 1
        assert len((await house.dead_letters.find(ALL, limit=10)).rows) == 1

    async def test_sent_is_never_overwritten(self, house: House) -> None:
        claim = await house.add_and_claim()
        await house.store.settle([sent(claim)])
        before = await house.row(claim.notification.id)

        for ending in (again, dead, held, lost, delivered):
            await house.store.settle([ending(claim)])

        assert await house.row(claim.notification.id) == before

    async def test_sent_at_is_set_once(self, house: House) -> None:
        """Also by a second sending, which nothing but another tool's hand could bring about."""
        claim = await house.add_and_claim()
        await house.store.settle([sent(claim)])
        first = (await house.row(claim.notification.id)).sent_at
        await house.set(claim.notification.id, status="pending")

        await house.store.settle([again(await house.claim_one())])
        between = (await house.row(claim.notification.id)).sent_at
        await house.store.settle([delivered(await house.claim_one())])

        assert first is not None
        assert between == first
        assert (await house.row(claim.notification.id)).sent_at == first

    async def test_a_settlement_of_nothing_stored_is_passed_over(self, house: House) -> None:
        claim = await house.add_and_claim()
        stranger = replace(claim, notification=replace(claim.notification, id=new_id()))

        effective = await house.store.settle([sent(stranger), sent(claim)])

        assert effective == {claim.notification.id}
        assert list(await house.archive.history(stranger.notification.id)) == []

    async def test_an_epoch_that_never_was_settles_nothing(self, house: House) -> None:
        claim = await house.add_and_claim()

        effective = await house.store.settle([sent(replace(claim, epoch=claim.epoch + 1))])

        assert effective == frozenset()
        assert await house.status(claim.notification.id) is Status.SENDING

    async def test_a_failed_call_leaves_nothing_behind(self, house: House) -> None:
        """A bad settlement spoils its whole call; the others can be settled without it."""
        await house.add(*(a_notification() for _ in range(3)))
        claims = await house.claim()
        spoiled = sent(claims[1])
        object.__setattr__(spoiled.entry, "started_at", None)

        with pytest.raises(Exception):  # noqa: B017, PT011 - the driver's own
            await house.store.settle([dead(claims[0]), spoiled, sent(claims[2])])

        for claim in claims:
            assert await house.status(claim.notification.id) is Status.SENDING
            assert list(await house.archive.history(claim.notification.id)) == []
        assert (await house.dead_letters.find(ALL, limit=10)).rows == ()
        assert len(await house.store.settle([dead(claims[0]), sent(claims[2])])) == 2

    async def _everything(self, house: House, claim: Claim) -> object:
        return (
            await house.row(claim.notification.id),
            await house.archive.history(claim.notification.id),
            await house.dead_letters.find(ALL, limit=100),
        )
