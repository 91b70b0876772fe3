"""What is due and in no queue is published, once, by however many relays."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

import pytest
import structlog

from notification_service.application import relay
from notification_service.domain.notification import NotificationId, Status
from tests.application.desk import a_submission
from tests.application.office import Office
from tests.stores.house import until

pytestmark = pytest.mark.usefixtures("hurried")


async def trusted(office: Office, count: int = 1, **changes: str) -> list[NotificationId]:
    """Queued by a relay, in the broker's queue."""
    ids = await office.pending(count, **changes)
    await office.relay().publish_due(asyncio.Event())
    assert await office.statuses(ids) == {Status.QUEUED}
    return ids


class TestPublishing:
    """`publish_due`."""

    async def test_what_is_due_is_published_and_queued_and_nothing_else(self, office: Office) -> None:
        due = await office.pending(3)
        later = await office.pending(due_at=office.store.now() + timedelta(seconds=60))

        await office.relay().publish_due(asyncio.Event())

        assert office.queue.ids == set(due)
        assert await office.statuses(due) == {Status.QUEUED}
        assert await office.statuses(later) == {Status.PENDING}

    async def test_what_becomes_due_is_published_soon(self, office: Office) -> None:
        ids = await office.pending(due_at=office.store.now() + timedelta(seconds=0.3))
        async with office.relaying():
            await asyncio.sleep(0.15)
            assert not office.queue.ids

            await office.become(ids, Status.QUEUED, seconds=1)

    async def test_many_relays_publish_a_backlog_once(self, office: Office) -> None:
        ids = await office.pending(1_000)

        async with office.relaying(relays=3):
            await office.become(ids, Status.QUEUED, seconds=20)

        assert office.queue.given == Counter(dict.fromkeys(ids, 1))

    async def test_after_an_outage_everything_is_published_once_and_within_a_second(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the real figures: three relays, and callers that go on all the while."""
        monkeypatch.undo()
        assert timedelta(seconds=0.5) >= relay.INTERVAL
        office.queue.is_away = True
        ids = await office.pending(200)
        async with office.relaying(relays=3):
            began = time.monotonic()
            while time.monotonic() - began < 2:
                await office.accept(a_submission())
                await asyncio.sleep(0.1)
            ids += await office.pending(50)
            assert not office.queue.given

            office.queue.is_away = False

            await office.become(ids, Status.QUEUED, seconds=2)  # a second, and this machine's second
            await asyncio.sleep(1)
        assert set(office.queue.given.values()) == {1}
        assert len(office.queue.given) == await office.house.count()

    async def test_nothing_is_enqueued_twice_over_many_short_outages(self, office: Office) -> None:
        async with office.relaying(relays=3):
            for _ in range(6):
                office.queue.is_away = True
                await office.pending(30)
                await asyncio.sleep(0.1)
                office.queue.is_away = False
                await asyncio.sleep(0.1)
            await until(lambda: len(office.queue.given) == 180)
            await asyncio.sleep(0.6)

        assert office.queue.doubled == []

    async def test_a_broker_that_is_away_is_asked_before_anything_is_taken_again(
        self, office: Office
    ) -> None:
        office.queue.is_away = True
        await office.pending(5)

        async with office.relaying():
            await until(lambda: office.queue.calls["check"] > 5)

        assert office.queue.calls["publish"] == 1

    async def test_a_broker_that_hangs_holds_nothing_back_for_longer_than_the_patience(
        self, office: Office
    ) -> None:
        office.queue.publishing_hangs = True
        ids = await office.pending(5)
        async with office.relaying(relays=2):
            await asyncio.sleep(0.5)

            office.queue.publishing_hangs = False

            await office.become(ids, Status.QUEUED, seconds=3)

    async def test_what_it_does_not_confirm_stays_pending_and_is_tried_again(self, office: Office) -> None:
        office.queue.refuses = frozenset({"sms"})
        ids = await office.pending(2, channel_type="sms")
        async with office.relaying():
            await until(lambda: office.queue.calls["publish"] == 1)
            await asyncio.sleep(0.2)
            assert office.queue.calls["publish"] <= 2 + 0.2 / relay.INTERVAL.total_seconds()  # once a round
            assert await office.statuses(ids) == {Status.PENDING}

            office.queue.refuses = frozenset()

            await office.become(ids, Status.QUEUED)
        assert office.queue.ids == set(ids)

    async def test_a_channel_without_a_queue_keeps_no_other_waiting(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However much there is of it, and however urgent."""
        monkeypatch.setattr(relay, "BATCH", 10)
        office.queue.refuses = frozenset({"sms"})
        await office.pending(100, channel_type="sms", priority=10)
        emails = await office.pending(5)

        await office.relay().publish_due(asyncio.Event())

        assert await office.statuses(emails) == {Status.QUEUED}

    @pytest.mark.parametrize("batch", [20, 25])
    async def test_one_relay_publishes_no_more_than_its_share_of_a_second(
        self, office: Office, monkeypatch: pytest.MonkeyPatch, batch: int
    ) -> None:
        monkeypatch.setattr(relay, "BATCH", batch)
        monkeypatch.setattr(relay, "PER_SECOND", 200)
        ids = await office.pending(100)
        began = time.monotonic()

        await office.relay().publish_due(asyncio.Event())

        assert await office.statuses(ids) == {Status.QUEUED}
        assert time.monotonic() - began >= 100 / 200

    async def test_told_to_stop_it_stops_in_the_middle_of_a_backlog(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "BATCH", 10)
        monkeypatch.setattr(relay, "PER_SECOND", 20)
        await office.pending(100)
        async with office.relaying() as stopping:
            await until(lambda: len(office.queue.given) == 10)
            stopping.set()

        assert len(office.queue.given) == 10

    async def test_whatever_fails_it_goes_on(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        faults = iter([ValueError("a bug"), KeyError("another")])
        take = office.outbox.take

        async def faulty(**options: object) -> object:
            for fault in faults:
                raise fault
            return await take(**options)

        monkeypatch.setattr(office.outbox, "take", faulty)
        ids = await office.pending()

        async with office.relaying():
            await office.become(ids, Status.QUEUED, seconds=1)


class TestRecovering:
    """`recover`: a broker that was wiped, and one that is merely slow."""

    async def test_what_a_wiped_broker_held_is_published_again_when_its_trust_has_run_out(
        self, office: Office
    ) -> None:
        office.trust = timedelta(seconds=1)
        ids = await trusted(office, 50)
        office.queue.wipe()
        async with office.relaying(relays=3):
            await asyncio.sleep(0.4)
            assert not office.queue.ids

            await until(lambda: office.queue.ids == set(ids))
            await asyncio.sleep(0.2)

        assert set(office.queue.given.values()) == {2}
        assert "notifications_republished_total 50.0" in office.metrics.render()[0].decode()

    async def test_a_long_backlog_that_is_merely_slow_is_not_enqueued_again(self, office: Office) -> None:
        """Its trust ran out long ago, and it is still there."""
        office.trust = timedelta(seconds=0.05)
        ids = await trusted(office, 50)

        async with office.relaying(relays=3):
            await asyncio.sleep(0.8)

        assert set(office.queue.given.values()) == {1}
        assert await office.statuses(ids) == {Status.QUEUED}

    async def test_only_drained_channels_come_back(self, office: Office) -> None:
        office.trust = timedelta(seconds=0.2)
        lost = await trusted(office, 5, channel_type="sms")
        office.queue.wipe()
        slow = await trusted(office, 5)

        async with office.relaying():
            await until(lambda: set(lost) <= office.queue.ids)
            await asyncio.sleep(0.3)

        assert {office.queue.given[one] for one in lost} == {2}
        assert {office.queue.given[one] for one in slow} == {1}

    async def test_what_a_worker_has_in_hand_is_not_published_again(self, office: Office) -> None:
        office.trust = timedelta(seconds=0.2)
        await trusted(office, 5)
        office.queue.wipe()
        await office.house.claim()

        async with office.relaying():
            await asyncio.sleep(0.3)

        assert set(office.queue.given.values()) == {1}

    async def test_a_broker_that_loses_everything_gets_it_again_at_the_pace_of_its_trust(
        self, office: Office
    ) -> None:
        office.trust = timedelta(seconds=0.3)
        office.queue.loses_everything = True
        [one] = await office.pending()
        began = time.monotonic()

        async with office.relaying(relays=3):
            await until(lambda: office.queue.given[one] == 4)

        assert time.monotonic() - began >= 0.9

    async def test_recovery_is_no_faster_than_its_share_of_a_second(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "BATCH", 10)
        office.trust = timedelta()
        await trusted(office, 95)
        office.queue.wipe()
        monkeypatch.setattr(relay, "PER_SECOND", 200)
        office.trust = timedelta(minutes=1)
        recovering = office.relay()
        await recovering.recover(asyncio.Event())
        began = time.monotonic()

        await recovering.recover(asyncio.Event())

        assert set(office.queue.given.values()) == {2}
        assert time.monotonic() - began >= 95 / 200 * 0.9

    async def test_a_recovery_that_takes_longer_than_the_trust_repeats_nothing(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it published at first is out of trust before it is through, and lies in the queue."""
        monkeypatch.setattr(relay, "BATCH", 10)
        office.trust = timedelta(seconds=0.3)
        ids = await trusted(office, 60)
        office.queue.wipe()
        monkeypatch.setattr(relay, "PER_SECOND", 50)

        async with office.relaying():
            await until(lambda: len(office.queue.ids) >= 10)
            await asyncio.sleep(1.5)

        assert office.queue.doubled == []
        assert set(office.queue.given) == set(ids)

    async def test_a_short_trust_is_no_reason_to_publish_what_lies_in_the_queue(self, office: Office) -> None:
        """It ran out between two questions, and the answer is about what was published before."""
        office.trust = timedelta(seconds=0.05)
        asking = office.relay()
        await asking.recover(asyncio.Event())
        await trusted(office, 5)
        await asyncio.sleep(0.1)

        await asking.recover(asyncio.Event())

        assert office.queue.doubled == []

    async def test_a_trust_shorter_than_the_pause_between_recoveries_is_recovered_too(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "RECOVERY_INTERVAL", timedelta(minutes=1))
        office.trust = timedelta(seconds=0.4)
        await trusted(office, 5)
        office.queue.wipe()

        async with office.relaying():
            await until(lambda: max(office.queue.given.values()) == 2)

    async def test_after_an_outage_of_the_store_it_is_patient(self, office: Office) -> None:
        """A worker holds what it could not claim: the queue looks drained, and is not done with it."""
        office.trust = timedelta(seconds=0.2)
        await trusted(office, 5)
        office.queue.wipe()
        office.outage.is_on = True
        async with office.relaying():
            await asyncio.sleep(0.2)
            office.outage.is_on = False
            back = time.monotonic()

            await until(lambda: max(office.queue.given.values()) == 2)

        assert time.monotonic() - back >= 0.4  # AFTER_OUTAGE is 0.5

    async def test_an_outage_of_the_broker_makes_it_no_more_patient(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "AFTER_OUTAGE", timedelta(minutes=1))
        office.trust = timedelta(seconds=0.2)
        await trusted(office, 5)
        office.queue.wipe()
        office.queue.is_away = True
        async with office.relaying():
            await asyncio.sleep(0.2)
            office.queue.is_away = False

            await until(lambda: max(office.queue.given.values()) == 2)

    async def test_it_says_what_the_broker_lost(self, office: Office) -> None:
        office.trust = timedelta(seconds=0.2)
        await trusted(office, 3)
        office.queue.wipe()

        with structlog.testing.capture_logs() as lines:
            async with office.relaying():
                await until(lambda: max(office.queue.given.values()) > 1)

        [first, *_] = [line for line in lines if line["event"] == "published_again"]
        assert first["count"] == 3


class TestAdopting:
    """A database whose table was the queue gets a broker."""

    async def test_what_was_accepted_without_a_broker_is_published(self, office: Office) -> None:
        added = [await office.house.add_one(status=Status.QUEUED) for _ in range(5)]

        async with office.relaying(relays=3):
            await until(lambda: office.queue.ids == {one.id for one in added})

        assert set(office.queue.given.values()) == {1}

    async def test_more_than_a_batch_is_adopted(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "BATCH", 10)
        for _ in range(35):
            await office.house.add_one(status=Status.QUEUED)

        async with office.relaying():
            await until(lambda: len(office.queue.ids) == 35)
