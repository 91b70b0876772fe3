"""What every broker promises; an adapter's test inherits it and says how to make one."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.events import Buried, Letter, Parcel, write_event
from notification_service.domain.notification import Notification, NotificationId, Reason
from notification_service.ports import Broker
from tests.stores.making import a_notification

CONSUMED: frozenset[ChannelType] = frozenset({"email", "sms"})
PATIENCE = 20.0
"""Seconds for what must happen; generous, since machines are slow and consumer groups take their time."""
SILENCE = 1.0
"""Seconds in which nothing may happen."""


class BrokerConformance(ABC):
    """The sentences of `ports.Broker` that hold wherever the queue is."""

    @abstractmethod
    def make(self) -> Broker:
        """Return a broker, not yet entered; those of one test share queues that no other test knows."""

    async def test_entering_it_does_not_wait_for_the_connection(self) -> None:
        began = time.monotonic()

        async with self.make():
            assert time.monotonic() - began < SILENCE

    async def test_it_can_be_left_at_once_and_while_it_is_in_use(self) -> None:
        async with asyncio.timeout(PATIENCE):
            async with self.make():
                pass
            async with self.connected() as broker:
                await broker.publish([a_notification()])

    async def test_everything_published_is_safe(self) -> None:
        async with self.connected() as broker:
            notifications = [a_notification(), a_notification(channel_type="sms")]

            published = await broker.publish(notifications)

        assert published == {each.id for each in notifications}

    async def test_publishing_nothing_is_nothing(self) -> None:
        async with self.connected() as broker:
            assert await broker.publish([]) == frozenset()

    async def test_published_work_is_received(self) -> None:
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await broker.publish([a_notification()])

            await self._receive(broker, "email")

    async def test_receiving_waits_for_work(self) -> None:
        """Work that comes later is received by whoever waits already."""
        async with self.connected() as broker, broker.consuming(CONSUMED):
            waiting = asyncio.create_task(self._receive(broker, "email"))
            await asyncio.sleep(0.1)

            await broker.publish([a_notification()])

            await waiting

    async def test_waking_never_hurts(self) -> None:
        async with self.connected() as broker:
            await broker.wake(["email", "sms"])
            await broker.wake([])

    async def test_a_settled_parcel_may_be_settled_again(self) -> None:
        async with self.connected() as broker, broker.consuming(CONSUMED):
            await broker.publish([a_notification()])
            parcel = await self._receive(broker, "email")

            await broker.settled(parcel)
            await broker.settled(parcel)

    async def test_settling_never_raises_even_when_nobody_consumes_any_more(self) -> None:
        async with self.connected() as broker:
            async with broker.consuming(CONSUMED):
                await broker.publish([a_notification()])
                parcel = await self._receive(broker, "email")

            await broker.settled(parcel)
        await broker.settled(parcel)

    async def test_the_first_question_for_what_is_drained_has_no_answer(self) -> None:
        async with self.connected() as broker:
            assert await broker.drained() == frozenset()

    async def test_burying_is_possible_where_there_is_no_dead_letter_queue_too(self) -> None:
        async with self.connected() as broker:
            await broker.bury([a_dead_one()])
            await broker.bury([])

    async def test_check_tells_in_one_line_what_it_is(self) -> None:
        async with self.connected() as broker:
            line = await broker.check()

        assert line
        assert "\n" not in line

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Broker]:
        """Enter a new broker and wait until it answers."""
        async with self.make() as broker:
            await answering(broker)
            yield broker

    async def _receive(
        self, broker: Broker, channel: ChannelType, *, limit: int = 100, more: bool = False
    ) -> Parcel:
        async with asyncio.timeout(PATIENCE):
            return await broker.receive(channel, limit=limit, more=more)

    async def _one(self, broker: Broker, channel: ChannelType) -> NotificationId:
        parcel = await self._receive(broker, channel, limit=1)
        assert parcel.ids
        assert not parcel.letters
        return parcel.ids[0]

    async def _everything(
        self, broker: Broker, channel: ChannelType, count: int, *, settle: bool = False
    ) -> tuple[set[NotificationId], list[Letter]]:
        """Receive until `count` different notifications and letters have come."""
        ids: set[NotificationId] = set()
        letters: dict[str, Letter] = {}
        async with asyncio.timeout(PATIENCE):
            while len(ids) + len(letters) < count:
                parcel = await broker.receive(channel, limit=100, more=False)
                ids.update(parcel.ids or ())
                letters.update({letter.name: letter for letter in parcel.letters})
                if settle:
                    await broker.settled(parcel)
        return ids, list(letters.values())

    async def _ids(
        self, broker: Broker, channel: ChannelType, count: int, *, settle: bool = False
    ) -> set[NotificationId]:
        ids, letters = await self._everything(broker, channel, count, settle=settle)
        assert not letters
        return ids

    async def _letters(self, broker: Broker, channel: ChannelType, count: int) -> list[Letter]:
        ids, letters = await self._everything(broker, channel, count)
        assert not ids
        return letters

    async def _within(
        self, broker: Broker, channel: ChannelType, seconds: float, *, limit: int = 100, settle: bool = False
    ) -> set[NotificationId]:
        """Whatever comes within some seconds."""
        ids: set[NotificationId] = set()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    parcel = await broker.receive(channel, limit=limit, more=False)
                    ids.update(parcel.ids or ())
                    if settle:
                        await broker.settled(parcel)
        except TimeoutError:
            return ids

    async def _drained_soon(self, broker: Broker, channel: ChannelType) -> frozenset[ChannelType]:
        """Ask until the channel is named: the broker may learn late what was settled."""
        async with asyncio.timeout(PATIENCE):
            while True:
                drained = await broker.drained()
                if channel in drained:
                    return drained
                await asyncio.sleep(0.1)


def a_dead_one(notification: Notification | None = None) -> Buried:
    """What the dead-letter queue is to show."""
    dead = notification or a_notification()
    return Buried(
        reason=Reason.RETRIES_EXHAUSTED,
        body=write_event(dead),
        key=dead.user_id.encode(),
        correlation_id="correlation-1",
    )


async def answering(broker: Broker, seconds: float = PATIENCE) -> None:
    """Wait until the broker has its connection."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await broker.check()
            except BrokerUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return
