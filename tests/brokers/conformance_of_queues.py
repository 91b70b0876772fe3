"""What every broker promises that holds the queue itself; an adapter's test inherits it."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.events import Parcel, write_event
from notification_service.domain.notification import NotificationId, Status
from notification_service.ports import Broker
from tests.brokers.conformance import CONSUMED, PATIENCE, SILENCE, BrokerConformance, a_dead_one
from tests.stores.making import a_notification


class QueueConformance(BrokerConformance):
    """The sentences of `ports.Broker` for a broker that holds the queue itself."""

    fills_in: float = 1.0
    """Seconds after which a consumer has at hand what was published before."""

    @abstractmethod
    def make_out_of_reach(self) -> Broker:
        """Return a broker whose server nobody can reach, with the password `geheim` in its address if any."""

    @abstractmethod
    async def put(self, channel: ChannelType, body: bytes, *, headers: dict[str, str] | None = None) -> None:
        """Put a message into the channel's queue, as another producer would."""

    @abstractmethod
    async def dead_letters(self, count: int) -> Sequence[tuple[bytes, str]]:
        """Wait for so many messages in the broker's dead-letter queue: body and `dlq-reason`."""

    # --- publish and receive

    def test_a_due_notification_is_stored_as_pending_until_the_broker_has_it(self) -> None:
        assert self.make().accepts_as is Status.PENDING

    async def test_a_parcel_names_what_was_published(self) -> None:
        notifications = [a_notification() for _ in range(20)]
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await broker.publish(notifications)

            assert await self._ids(broker, "email", 20) == {each.id for each in notifications}

    async def test_what_was_published_before_anybody_consumed_is_received(self) -> None:
        notification = a_notification()
        async with self.connected() as broker:
            await broker.publish([notification])

            async with broker.consuming(CONSUMED):
                assert await self._ids(broker, "email", 1) == {notification.id}

    async def test_channels_do_not_get_each_others_work(self) -> None:
        email, sms = a_notification(), a_notification(channel_type="sms")
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await broker.publish([email, sms])

            assert await self._ids(broker, "sms", 1) == {sms.id}
            assert await self._ids(broker, "email", 1) == {email.id}

    async def test_a_parcel_holds_at_most_the_limit_letters_included(self) -> None:
        async with self.connected() as broker:
            await broker.publish([a_notification() for _ in range(4)])
            for number in range(4):
                await self.put("email", b"letter %d" % number)
            sizes, seen = [], 0

            async with broker.consuming(CONSUMED):
                await asyncio.sleep(self.fills_in)
                while seen < 8:
                    parcel = await self._receive(broker, "email", limit=3)
                    sizes.append(len(parcel.ids or ()) + len(parcel.letters))
                    seen += sizes[-1]

        assert max(sizes) <= 3
        assert seen == 8

    async def test_no_parcel_is_empty(self) -> None:
        async with self.connected() as broker, broker.consuming(CONSUMED):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SILENCE):
                    await broker.receive("email", limit=10, more=True)

    async def test_the_most_urgent_of_what_waits_comes_first(self) -> None:
        urgency = [3, 9, 1, 10, 5, 7, 2, 8, 4, 6]
        notifications = {a_notification(priority=each).id: each for each in urgency}
        async with self.connected() as broker:
            await broker.publish(
                [a_notification(id=id_, priority=each) for id_, each in notifications.items()]
            )

            async with broker.consuming(CONSUMED):
                await asyncio.sleep(self.fills_in)
                order = [notifications[await self._one(broker, "email")] for _ in urgency]

        assert order == sorted(urgency, reverse=True)

    async def test_a_cancelled_receive_hands_out_nothing(self) -> None:
        """However close together the arrival and the cancelling are."""
        notifications = [a_notification() for _ in range(20)]
        received: set[NotificationId] = set()
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await broker.publish(notifications)
            await asyncio.sleep(self.fills_in)
            while len(received) < len(notifications):
                receiving = asyncio.create_task(broker.receive("email", limit=1, more=True))
                for _ in range(len(received) % 5):
                    await asyncio.sleep(0)
                receiving.cancel()
                for parcel in await asyncio.gather(receiving, return_exceptions=True):
                    if isinstance(parcel, Parcel):
                        received.update(parcel.ids or ())
                received.add(await self._one(broker, "email"))

        assert received == {each.id for each in notifications}

    async def test_a_large_batch_is_published_whole(self) -> None:
        notifications = [a_notification(user_id=f"user-{number}") for number in range(1200)]
        async with self.connected() as broker, broker.consuming(CONSUMED):
            assert len(await broker.publish(notifications)) == 1200

            received = await self._ids(broker, "email", 1200, settle=True)

        assert received == {each.id for each in notifications}

    async def test_the_same_notification_may_be_published_again(self) -> None:
        """Whoever isn't sure publishes once more: the store makes the second one harmless."""
        notification = a_notification()
        async with self.connected() as broker, broker.consuming(CONSUMED):
            both = await asyncio.gather(broker.publish([notification]), broker.publish([notification]))

            assert list(both) == [{notification.id}] * 2
            assert await self._ids(broker, "email", 1) == {notification.id}

    async def test_a_cancelled_publish_may_be_repeated(self) -> None:
        notifications = [a_notification() for _ in range(200)]
        async with self.connected() as broker, broker.consuming(CONSUMED):
            for turns in (0, 1, 2, 5, 20):
                publishing = asyncio.create_task(broker.publish(notifications))
                for _ in range(turns):
                    await asyncio.sleep(0)
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)

            published = await broker.publish(notifications)

            assert published == {each.id for each in notifications}
            assert await self._ids(broker, "email", 200, settle=True) == published

    # --- settle and give back

    async def test_leaving_gives_back_what_was_not_settled(self) -> None:
        notifications = [a_notification() for _ in range(10)]
        everything = {each.id for each in notifications}
        async with self.connected() as broker:
            await broker.publish(notifications)
            async with broker.consuming(CONSUMED):
                assert await self._ids(broker, "email", 10) == everything

            async with broker.consuming(CONSUMED):
                assert await self._ids(broker, "email", 10) == everything

    async def test_what_another_did_not_settle_goes_to_the_next(self) -> None:
        notification = a_notification()
        async with self.connected() as one, self.connected() as other:
            async with one.consuming(CONSUMED):
                await one.publish([notification])
                await self._ids(one, "email", 1)

            async with other.consuming(CONSUMED):
                assert await self._ids(other, "email", 1) == {notification.id}

    async def test_what_is_settled_does_not_come_back(self) -> None:
        async with self.connected() as broker:
            await broker.publish([a_notification() for _ in range(10)])
            async with broker.consuming(CONSUMED):
                await self._ids(broker, "email", 10, settle=True)

            async with broker.consuming(CONSUMED):
                assert await self._within(broker, "email", SILENCE) == set()

    async def test_parcels_may_be_settled_in_any_order(self) -> None:
        """What is settled late holds nothing back for good, and what never is settled comes back."""
        notifications = [a_notification() for _ in range(6)]
        async with self.connected() as broker:
            await broker.publish(notifications)
            async with broker.consuming(CONSUMED):
                parcels = [await self._receive(broker, "email", limit=1) for _ in notifications]
                for parcel in (parcels[5], parcels[1], parcels[4], parcels[0], parcels[3]):
                    await broker.settled(parcel)
                assert parcels[2].ids

            async with broker.consuming(CONSUMED):
                again = await self._ids(broker, "email", 1, settle=True)
                assert set(parcels[2].ids) <= again | await self._within(broker, "email", SILENCE)

            async with broker.consuming(CONSUMED):
                assert not {parcels[0].ids, parcels[1].ids} & {
                    (each,) for each in await self._within(broker, "email", SILENCE)
                }

    async def test_workers_share_a_channel_and_miss_nothing(self) -> None:
        notifications = [a_notification(user_id=f"user-{number}") for number in range(100)]
        async with AsyncExitStack() as stack:
            brokers = [await stack.enter_async_context(self.connected()) for _ in range(2)]
            for broker in brokers:
                await stack.enter_async_context(broker.consuming(CONSUMED))
            await brokers[0].publish(notifications)
            received: set[NotificationId] = set()
            async with asyncio.timeout(PATIENCE):
                while len(received) < 100:
                    for broker in brokers:
                        received |= await self._within(broker, "email", 0.2, settle=True)

        assert received == {each.id for each in notifications}

    # --- messages of others

    async def test_a_foreign_message_is_a_letter(self) -> None:
        body = b'{"user_id": "ann", "template_code": "welcome", "variables": {}, "request_id": "r-1"}'
        headers = {"correlation-id": "c-1", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await self.put("email", body, headers=headers)

            (letter,) = await self._letters(broker, "email", 1)

        assert letter.body == body
        assert letter.source
        assert (letter.correlation_id, letter.traceparent) == ("c-1", headers["traceparent"])

    async def test_a_letter_has_the_same_name_each_time(self) -> None:
        async with self.connected() as broker:
            await self.put("email", b"{}")
            async with broker.consuming(CONSUMED):
                (first,) = await self._letters(broker, "email", 1)
            async with broker.consuming(CONSUMED):
                (second,) = await self._letters(broker, "email", 1)

        assert first.name == second.name

    async def test_no_two_letters_have_the_same_name(self) -> None:
        """Not even when one is like the other: somebody signed in twice."""
        async with self.connected() as broker, broker.consuming(CONSUMED):
            for _ in range(3):
                await self.put("email", b'{"email": "ann@example.com", "name": "Ann"}')

            letters = await self._letters(broker, "email", 3)

        assert len({letter.name for letter in letters}) == 3

    async def test_what_nobody_can_read_stops_nobody(self) -> None:
        broken = [b"", b"\xff\xfe", b"null", b"[" * 100_000, b'{"version": 1}', b"x" * 100_000]
        notifications = [a_notification() for _ in range(6)]
        async with self.connected() as broker, broker.consuming(CONSUMED):
            for body, notification in zip(broken, notifications, strict=True):
                await self.put("email", body)
                await broker.publish([notification])

            received, letters = await self._everything(broker, "email", 12)

        assert received == {each.id for each in notifications}
        assert sorted(letter.body for letter in letters) == sorted(broken)

    async def test_our_event_is_read_whoever_sent_it(self) -> None:
        notification = a_notification()
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await self.put("email", write_event(notification))

            assert await self._ids(broker, "email", 1) == {notification.id}

    # --- drained

    async def test_an_empty_queue_is_drained(self) -> None:
        async with self.connected() as broker:
            await broker.drained()

            assert await broker.drained() >= CONSUMED

    async def test_a_backlog_that_nobody_consumes_is_not_drained(self) -> None:
        async with self.connected() as broker:
            await broker.publish([a_notification()])
            await broker.drained()

            drained = await broker.drained()

        assert "email" not in drained
        assert "sms" in drained

    async def test_a_backlog_that_is_merely_slow_is_not_drained(self) -> None:
        async with self.connected() as broker:
            await broker.publish([a_notification(user_id=f"user-{number}") for number in range(800)])
            async with broker.consuming(CONSUMED):
                await broker.drained()
                for _ in range(3):
                    await broker.settled(await self._receive(broker, "email", limit=10))

                    assert "email" not in await broker.drained()

    async def test_what_was_worked_off_is_drained(self) -> None:
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await broker.publish([a_notification() for _ in range(20)])
            await broker.drained()
            await self._ids(broker, "email", 20, settle=True)

            assert "email" in await self._drained_soon(broker, "email")

    async def test_one_that_only_publishes_sees_what_others_worked_off(self) -> None:
        async with self.connected() as relay, self.connected() as worker:
            await relay.publish([a_notification()])
            await relay.drained()
            assert "email" not in await relay.drained()
            async with worker.consuming(CONSUMED):
                await self._ids(worker, "email", 1, settle=True)

                assert "email" in await self._drained_soon(relay, "email")

    # --- bury

    async def test_the_dead_are_shown_with_their_reason(self) -> None:
        dead = a_dead_one()
        async with self.connected() as broker:
            await broker.bury([dead])

            assert await self.dead_letters(1) == [(dead.body, str(dead.reason))]

    # --- out of reach

    async def test_without_its_server_it_says_so_at_once(self) -> None:
        async with self.make_out_of_reach() as broker, asyncio.timeout(5):
            for attempt in (
                broker.publish([a_notification()]),
                broker.bury([a_dead_one()]),
                broker.drained(),
                broker.check(),
            ):
                with pytest.raises(BrokerUnavailableError) as caught:
                    await attempt
                assert "geheim" not in str(caught.value)

    async def test_without_its_server_consuming_waits_in_peace(self) -> None:
        async with self.make_out_of_reach() as broker, broker.consuming(CONSUMED):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SILENCE):
                    await broker.receive("email", limit=10, more=True)
