"""What people do to notifications afterwards: look, cancel, retry and redrive, each within their rights."""

from collections.abc import Sequence

from notification_service.domain.errors import InvalidStateError, NotFoundError
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import (
    DeadLetter,
    DeadLetterId,
    Entry,
    Notification,
    NotificationId,
)
from notification_service.domain.people import Principal
from notification_service.ports import Broker, DeadLetterStore, NotificationArchive


class Intervene:
    """The use cases behind reading one notification, cancelling, retrying and redriving."""

    def __init__(
        self, *, archive: NotificationArchive, dead_letters: DeadLetterStore, broker: Broker
    ) -> None:
        """Work on the archive and hand what is due again to the broker."""
        self._archive = archive
        self._dead_letters = dead_letters
        self._broker = broker

    async def read(self, caller: Principal, notification_id: NotificationId) -> Notification:
        """Return the notification; raise `NotFoundError` or `NotYourNotificationError`."""
        notification = await self._archive.get(notification_id)
        if notification is None:
            raise NotFoundError
        caller.require_owner(notification.user_id)
        return notification

    async def history(self, caller: Principal, notification_id: NotificationId) -> Sequence[Entry]:
        """Return the notification's attempts and decisions, oldest first."""
        await self.read(caller, notification_id)
        return await self._archive.history(notification_id)

    async def cancel(self, caller: Principal, notification_id: NotificationId) -> Notification:
        """Cancel a waiting notification; raise `InvalidStateError` when it no longer waits."""
        await self.read(caller, notification_id)
        cancelled = await self._archive.cancel(notification_id)
        if cancelled is None:
            raise InvalidStateError("only a pending or queued notification can be cancelled")
        return cancelled

    async def retry(self, caller: Principal, notification_id: NotificationId) -> Notification:
        """Grant a failed notification a fresh budget; raise `InvalidStateError` when it hasn't failed."""
        await self.read(caller, notification_id)
        again = await self._archive.retry(notification_id, by=caller.subject, status=self._broker.accepts_as)
        if again is None:
            raise InvalidStateError("only a failed notification can be retried")
        await self._broker.wake({again.channel_type})
        return again

    async def redrive(self, caller: Principal, dead_letter_id: DeadLetterId) -> DeadLetter:
        """Redrive one dead letter; raise `NotFoundError` or `InvalidStateError`."""
        caller.require_admin()
        if await self._dead_letters.get(dead_letter_id) is None:
            raise NotFoundError
        redriven = await self._dead_letters.redrive(
            [dead_letter_id], by=caller.subject, status=self._broker.accepts_as
        )
        if not redriven:
            raise InvalidStateError("this dead letter was redriven already or cannot be redriven")
        await self._hand_out(redriven)
        return redriven[0]

    async def redrive_matching(self, caller: Principal, where: DeadLetterFilter, *, limit: int) -> int:
        """Redrive the oldest open dead letters that match, at most `limit`; return how many."""
        caller.require_admin()
        redriven = await self._dead_letters.redrive_matching(
            where, by=caller.subject, status=self._broker.accepts_as, limit=limit
        )
        await self._hand_out(redriven)
        return len(redriven)

    async def _hand_out(self, redriven: Sequence[DeadLetter]) -> None:
        await self._broker.wake({each.channel for each in redriven if each.channel})
