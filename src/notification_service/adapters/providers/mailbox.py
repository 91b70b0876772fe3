"""A provider that keeps what would have been sent, for development and for tests of the caller's product."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Self

from uuid_utils.compat import uuid7

from notification_service.adapters.providers.mail import compose, mail_address
from notification_service.adapters.providers.trail import trail_headers
from notification_service.domain.channels import ChannelType, EmailChannel, PushChannel, SmsChannel
from notification_service.domain.errors import (
    NotificationServiceError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.mailbox import MailboxMessage, MailboxMessageId
from notification_service.domain.notification import Message, ProviderReceipt


class MailboxProvider:
    """Hands every message to `put` as its receiver would have got it."""

    name = "mailbox"
    channels: frozenset[ChannelType] = frozenset({"email", "sms", "push"})

    def __init__(
        self,
        *,
        put: Callable[[MailboxMessage], Awaitable[None]],
        now: Callable[[], datetime],
        sender: str = "no-reply@localhost",
    ) -> None:
        """`sender` is the address emails come from, with or without a display name."""
        self._put = put
        self._now = now
        self._sender = mail_address(sender)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def send(self, message: Message) -> ProviderReceipt:
        """Keep the message; the receipt's reference is the id it has in the mailbox."""
        kept = self._as_received(message)
        try:
            await self._put(kept)
        except NotificationServiceError:
            raise TransientDeliveryError(
                "the mailbox could not be written", provider=self.name, error_code="mailbox_unavailable"
            ) from None
        return ProviderReceipt(reference=str(kept.id))

    async def check(self) -> str:
        """Say where messages go."""
        return "mailbox: messages are kept, not sent"

    def _as_received(self, message: Message) -> MailboxMessage:
        to, subject, headers = self._envelope(message)
        return MailboxMessage(
            id=MailboxMessageId(uuid7()),
            notification_id=message.notification_id,
            user_id=message.user_id,
            channel=message.channel.type,
            to=to,
            subject=subject,
            text=message.body,
            html=None,
            headers=headers,
            received_at=self._now(),
        )

    def _envelope(self, message: Message) -> tuple[str, str | None, dict[str, str]]:
        match message.channel:
            case EmailChannel(to=to, subject=subject) as channel:
                return to, subject, self._mail_headers(message, channel)
            case SmsChannel(phone_number=to):
                return to, None, trail_headers(message)
            case PushChannel(device_token=to, title=title):
                return to, title, trail_headers(message)
            case _:
                raise PermanentDeliveryError(
                    "the mailbox keeps email, sms and push",
                    provider=self.name,
                    error_code="unsupported_channel",
                )

    def _mail_headers(self, message: Message, channel: EmailChannel) -> dict[str, str]:
        try:
            mail = compose(message, channel, sender=self._sender, date=self._now())
        except ValueError:
            raise PermanentDeliveryError(
                "the address or the subject can't stand in an email",
                provider=self.name,
                error_code="invalid_header",
            ) from None
        return {name: str(value) for name, value in mail.items()}
