"""The table is the queue: publishing rings a bell, receiving waits for it, the store knows what is due."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import Notification, NotificationId, Status
from notification_service.ports import Parcel, Wakeups

POLL = timedelta(seconds=1)
"""The safety net under lost rings, and how late a retry or a scheduled send may begin."""


class EmbeddedBroker:
    """`Broker` without a server: works in one process, and across processes that share a database."""

    accepts_as = Status.QUEUED

    def __init__(self, wakeups: Wakeups) -> None:
        """Wake and be woken through `wakeups`."""
        self._wakeups = wakeups

    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        """See `Broker.publish`: stored is queued."""
        await self.wake({each.channel_type for each in notifications})
        return frozenset(each.id for each in notifications)

    async def wake(self, channels: Iterable[ChannelType]) -> None:
        """See `Broker.wake`."""
        await self._wakeups.ring(channels)

    def consuming(self) -> AbstractAsyncContextManager[None]:
        """See `Broker.consuming`."""
        return self._wakeups.listening()

    async def receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        """See `Broker.receive`."""
        if not more:
            await self._wakeups.wait(channel, at_most=POLL)
        return Parcel()

    async def settled(self, parcel: Parcel) -> None:
        """See `Broker.settled`: the store needs no telling."""
