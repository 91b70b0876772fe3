"""The table is the queue: publishing rings a bell, receiving waits for it, the store knows what is due."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Self

from notification_service.domain.channels import ChannelType
from notification_service.domain.events import Buried, Parcel
from notification_service.domain.notification import Notification, NotificationId, Status
from notification_service.ports import Wakeups

POLL = timedelta(seconds=1)
"""The safety net under lost rings, and how late a retry or a scheduled send may begin."""


class EmbeddedBroker:
    """`Broker` without a server: works in one process, and across processes that share a database."""

    accepts_as = Status.QUEUED

    def __init__(self, wakeups: Wakeups) -> None:
        """Wake and be woken through `wakeups`."""
        self._wakeups = wakeups

    async def __aenter__(self) -> Self:
        """See `Broker`: there is nothing to connect to."""
        return self

    async def __aexit__(self, *details: object) -> None:
        """See `Broker`."""

    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        """See `Broker.publish`: stored is queued."""
        await self.wake({each.channel_type for each in notifications})
        return frozenset(each.id for each in notifications)

    async def wake(self, channels: Iterable[ChannelType]) -> None:
        """See `Broker.wake`."""
        await self._wakeups.ring(channels)

    def consuming(self, channels: frozenset[ChannelType]) -> AbstractAsyncContextManager[None]:
        """See `Broker.consuming`."""
        return self._wakeups.listening()

    async def receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        """See `Broker.receive`."""
        if not more:
            await self._wakeups.wait(channel, at_most=POLL)
        return Parcel()

    async def settled(self, parcel: Parcel) -> None:
        """See `Broker.settled`: the store needs no telling."""

    async def drained(self) -> frozenset[ChannelType]:
        """See `Broker.drained`: what the store holds is never lost to it."""
        return frozenset()

    async def bury(self, dead: Sequence[Buried]) -> None:
        """See `Broker.bury`: the table of dead letters is all there is."""

    async def check(self) -> str:
        """See `Broker.check`."""
        return "the database is the queue"
