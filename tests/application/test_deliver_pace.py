"""A worker's pace, and what it tells of its work."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog

from notification_service.adapters.brokers.embedded import POLL, EmbeddedBroker
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.application.deliver import Pace
from notification_service.domain.notification import Message, Outcome, ProviderReceipt, Status
from tests.application.endings import SECRETS, hang, permanent, transient, wait_for
from tests.application.workshop import ScriptedProvider, Workshop
from tests.stores.house import until

pytestmark = pytest.mark.usefixtures("impatient")


class TestPace:
    """How much at once, and when it ends."""

    async def test_a_worker_that_was_frozen_sends_nothing_it_may_have_lost(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rest of the lease is too short for a send: the claim goes back, without an attempt."""
        one = await workshop.add()
        claim = workshop.store.claim

        async def frozen(*arguments: Any, **options: Any) -> Any:
            claims = await claim(*arguments, **options)
            if claims and not thawed.is_set():
                thawed.set()
                await asyncio.sleep(0.5)
            return claims

        thawed = asyncio.Event()
        monkeypatch.setattr(workshop.store, "claim", frozen)
        workshop.pace = Pace(lease=timedelta(seconds=1), send_timeout=timedelta(milliseconds=200))

        await workshop.work()

        held, delivered = await workshop.history(one)
        assert (held.kind, held.outcome) == ("decision", Outcome.HELD)
        assert (delivered.kind, delivered.outcome) == ("attempt", Outcome.DELIVERED)
        assert len(workshop.provider.taken) == 1

    async def test_a_providers_own_word_on_its_deadline_counts(self, workshop: Workshop) -> None:
        """It knows how far a call came; the worker's backstop leaves it the time to say so."""

        async def late(_: Message) -> ProviderReceipt:
            await asyncio.sleep(workshop.pace.send_timeout.total_seconds())
            raise transient()

        workshop.provider.always = late
        one = await workshop.add()

        async with workshop.working():
            await until(lambda: bool(workshop.provider.taken))
            await workshop.becomes(one.id, Status.PENDING, Status.FAILED)

        first = (await workshop.history(one))[0]
        assert first.outcome is Outcome.TRANSIENT_ERROR

    async def test_never_more_are_in_hand_than_allowed(self, workshop: Workshop) -> None:
        async def slow(_: Message) -> ProviderReceipt:
            await asyncio.sleep(0.01)
            return ProviderReceipt()

        workshop.provider.always = slow
        workshop.concurrency = 4
        for _ in range(30):
            await workshop.house.add_one()

        await workshop.work()

        assert workshop.provider.most_in_hand == 4
        assert len(workshop.provider.taken) == 30

    async def test_the_more_urgent_are_sent_first(self, workshop: Workshop) -> None:
        workshop.concurrency = 1
        for priority in (1, 10, 5, 9):
            await workshop.house.add_one(priority=priority, user_id=str(priority))

        await workshop.work()

        assert [message.user_id for message in workshop.provider.taken] == ["10", "9", "5", "1"]

    async def test_a_slow_channel_holds_up_no_other(self, workshop: Workshop) -> None:
        slow, quick = ScriptedProvider(), ScriptedProvider()
        slow.always = hang
        workshop.concurrency = 2
        workshop.pace = replace(workshop.pace, send_timeout=timedelta(seconds=1))
        for _ in range(5):
            await workshop.house.add_one(channel_type="sms")

        async with workshop.working(workshop.deliver({"sms": slow, "email": quick})):
            await until(lambda: slow.in_hand == 2)
            emails = [await workshop.add() for _ in range(6)]
            async with asyncio.timeout(0.8):
                for email in emails:
                    await workshop.becomes(email.id, Status.SENT)

    async def test_a_slow_notification_holds_up_no_other_of_its_channel(self, workshop: Workshop) -> None:
        door = asyncio.Event()
        workshop.concurrency = 2
        workshop.pace = replace(workshop.pace, send_timeout=timedelta(seconds=5))
        workshop.provider.endings = [wait_for(door)]
        slow = await workshop.add(priority=10)
        async with workshop.working():
            await until(lambda: workshop.provider.in_hand == 1)

            for _ in range(6):
                quick = await workshop.add()
                await workshop.becomes(quick.id, Status.SENT)

            assert await workshop.house.status(slow.id) is Status.SENDING
            door.set()

    async def test_only_asked_channels_are_worked_on(self, workshop: Workshop) -> None:
        email, sms = await workshop.add(), await workshop.add(channel_type="sms")
        stopping = asyncio.Event()
        running = asyncio.create_task(workshop.deliver().run(channels=["sms", "chat"], stopping=stopping))
        await workshop.becomes(sms.id, Status.SENT)

        stopping.set()
        await running

        assert await workshop.house.status(email.id) is Status.QUEUED

    async def test_stopping_claims_nothing_more_finishes_and_settles(self, workshop: Workshop) -> None:
        door = asyncio.Event()
        workshop.concurrency = 2
        workshop.pace = replace(workshop.pace, send_timeout=timedelta(seconds=5))
        workshop.provider.always = wait_for(door)
        many = [await workshop.house.add_one() for _ in range(5)]
        async with workshop.working() as stopping:
            await until(lambda: workshop.provider.in_hand == 2)
            stopping.set()
            await asyncio.sleep(0.05)
            claims = workshop.store.claims

            door.set()

        statuses = [await workshop.house.status(one.id) for one in many]
        assert sorted(statuses) == [Status.QUEUED] * 3 + [Status.SENT] * 2
        assert workshop.store.claims == claims
        assert len(workshop.provider.taken) == 2

    async def test_an_idle_worker_stops_at_once(self, workshop: Workshop) -> None:
        async with asyncio.timeout(0.8), workshop.working():
            await asyncio.sleep(0.05)

    async def test_a_notification_that_comes_to_an_idle_worker_is_sent_at_once(
        self, workshop: Workshop
    ) -> None:
        async with workshop.working():
            await asyncio.sleep(0.1)
            one = await workshop.add()

            async with asyncio.timeout(0.5):
                await workshop.becomes(one.id, Status.SENT)

    async def test_a_lost_ring_is_made_up_for_by_the_poll(self, workshop: Workshop) -> None:
        """Within a second or so, though nobody rang."""
        workshop.broker = EmbeddedBroker(SqlWakeups(workshop.house.database))  # it doesn't listen
        async with workshop.working():
            await asyncio.sleep(0.1)
            one = await workshop.house.add_one()

            async with asyncio.timeout(POLL.total_seconds() + 1):
                await workshop.becomes(one.id, Status.SENT)


class TestTelling:
    """What is logged and counted."""

    @pytest.mark.parametrize(
        ("endings", "events"),
        [
            ([], ["delivered"]),
            ([transient()], ["retry_scheduled", "delivered"]),
            ([permanent()], ["sent_to_dlq"]),
            ([KeyError("x")], ["provider_faulty", "retry_scheduled", "delivered"]),
        ],
    )
    async def test_each_ending_is_one_line_without_body_address_or_subject(
        self, workshop: Workshop, endings: list[Any], events: list[str]
    ) -> None:
        workshop.provider.endings = list(endings)
        channel = {"type": "email", "to": SECRETS["to"], "subject": SECRETS["subject"]}
        one = await workshop.house.add_one(channel=channel, body=SECRETS["body"])
        context = structlog.contextvars.merge_contextvars

        with structlog.testing.capture_logs(processors=[context]) as lines:
            await workshop.work()

        assert [line["event"] for line in lines] == events
        assert {line["notification_id"] for line in lines} == {str(one.id)}
        assert {line["correlation_id"] for line in lines} == {"correlation-1"}
        assert not [secret for secret in SECRETS.values() if secret in repr(lines)]

    async def test_endings_are_counted_by_channel_and_reason(self, workshop: Workshop) -> None:
        workshop.provider.endings = [permanent()]
        for _ in range(3):
            await workshop.house.add_one()

        await workshop.work()

        told = workshop.metrics.render()[0].decode()
        assert 'notifications_sent_total{channel="email"} 2.0' in told
        assert 'notifications_failed_total{reason="provider_rejected"} 1.0' in told
