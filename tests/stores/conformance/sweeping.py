"""`NotificationStore`: what time overtakes, and how much there is."""

from datetime import timedelta

from notification_service.domain.notification import Outcome, Reason, Status
from tests.stores.house import House
from tests.stores.making import a_key, a_notification, sent


class SweepingConformance:
    """`expire`, `forget_answers` and `backlog`."""

    async def test_what_waits_past_its_expiry_becomes_expired(self, house: House) -> None:
        past = house.store.now() - timedelta(seconds=1)
        waiting = [
            await house.add_one(status=each, expires_at=past) for each in (Status.PENDING, Status.QUEUED)
        ]

        count = await house.store.expire(limit=10)

        assert count == 2
        for each in waiting:
            one = await house.get(each.id)
            assert (one.status, one.status_reason) == (Status.EXPIRED, Reason.EXPIRED)
            [line] = await house.archive.history(each.id)
            assert (line.kind, line.outcome) == ("decision", Outcome.EXPIRED)

    async def test_what_has_time_left_or_no_expiry_is_left_alone(self, house: House) -> None:
        ones = [
            await house.add_one(),
            await house.add_one(expires_at=house.store.now() + timedelta(minutes=1)),
        ]

        count = await house.store.expire(limit=10)

        assert count == 0
        assert [await house.status(one.id) for one in ones] == [Status.QUEUED] * 2

    async def test_what_is_scheduled_for_later_expires_all_the_same(self, house: House) -> None:
        now = house.store.now()
        one = await house.add_one(due_at=now + timedelta(hours=1), expires_at=now - timedelta(seconds=1))

        await house.store.expire(limit=10)

        assert await house.status(one.id) is Status.EXPIRED

    async def test_what_is_being_sent_or_final_never_expires(self, house: House) -> None:
        past = house.store.now() - timedelta(seconds=1)
        kept = [status for status in Status if status not in {Status.PENDING, Status.QUEUED}]
        ones = []
        for status in kept:
            ones.append(await house.add_one())
            await house.set(ones[-1].id, status=status.value, expires_at=past)

        count = await house.store.expire(limit=100)

        assert count == 0
        assert [await house.status(one.id) for one in ones] == kept

    async def test_at_most_the_limit_expires_at_once(self, house: House) -> None:
        past = house.store.now() - timedelta(seconds=1)
        await house.add(*(a_notification(expires_at=past) for _ in range(7)))

        counts = [await house.store.expire(limit=3) for _ in range(4)]

        assert counts == [3, 3, 1, 0]

    async def test_keys_past_their_time_are_forgotten_and_no_others(self, house: House) -> None:
        for number in range(5):
            await house.add_with_key(a_key(f"old-{number}"))
        await house.let_keys_expire()
        await house.add_with_key(a_key("new"))

        counts = [await house.store.forget_answers(limit=3) for _ in range(3)]

        assert counts == [3, 2, 0]
        assert await house.keys() == 1

    async def test_an_empty_store_has_no_backlog(self, house: House) -> None:
        backlog = await house.store.backlog()

        counts = (backlog.pending, backlog.queued, backlog.sending, backlog.dead_letters)
        assert counts == (0, 0, 0, 0)
        assert backlog.oldest_due == timedelta()

    async def test_the_backlog_counts_what_waits_is_sent_and_is_dead(self, house: House) -> None:
        await house.add_dead()
        await house.store.settle([sent(await house.add_and_claim())])
        for _ in range(3):
            await house.add_one()
        await house.claim(limit=2)
        for _ in range(4):
            await house.add_one(status=Status.PENDING)

        backlog = await house.store.backlog()

        counts = (backlog.pending, backlog.queued, backlog.sending, backlog.dead_letters)
        assert counts == (4, 1, 2, 1)

    async def test_the_oldest_due_is_the_longest_waiting_one(self, house: House) -> None:
        now = house.store.now()
        for seconds in (5, 90, 30, -3600):
            await house.add_one(due_at=now - timedelta(seconds=seconds))

        backlog = await house.store.backlog()

        assert timedelta(seconds=90) <= backlog.oldest_due < timedelta(seconds=95)

    async def test_what_is_due_later_is_no_wait_at_all(self, house: House) -> None:
        await house.add_one(due_at=house.store.now() + timedelta(hours=1))

        assert (await house.store.backlog()).oldest_due == timedelta()

    async def test_a_redriven_dead_letter_is_no_longer_counted(self, house: House) -> None:
        one = await house.add_dead()
        before = await house.store.backlog()

        await house.archive.retry(one.id, by="root", status=Status.QUEUED)

        after = await house.store.backlog()
        assert (before.dead_letters, after.dead_letters) == (1, 0)
