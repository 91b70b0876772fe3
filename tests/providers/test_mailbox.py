from collections.abc import AsyncIterator
from typing import override

import pytest

from notification_service.adapters.providers.mailbox import MailboxProvider
from notification_service.domain.channels import AnyChannel, PushChannel, SmsChannel
from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.mailbox import MailboxMessage
from notification_service.domain.notification import Message
from tests.providers.conformance import ProviderConformance, Rig
from tests.providers.messages import BODY, NOW, email, message, now

PUSH = PushChannel(device_token="token-of-a-telephone", title="A parcel")
SMS = SmsChannel(phone_number="+4915112345678")


class MailboxRig(Rig):
    """A mailbox that may be out of reach; a subject no header takes is its only refusal for good."""

    def __init__(self) -> None:
        self.kept: list[MailboxMessage] = []
        self.out_of_reach = False
        self.subject = "A parcel for you"
        self.provider = MailboxProvider(put=self._put, now=now, sender="Shop <no-reply@example.com>")

    async def _put(self, message: MailboxMessage) -> None:
        if self.out_of_reach:
            raise StoreUnavailableError(message.text)
        self.kept.append(message)

    @property
    @override
    def keys(self) -> list[str]:
        return [kept.headers["Message-ID"] for kept in self.kept]

    @override
    def message(self) -> Message:
        return message(email(subject=self.subject))

    @override
    def refuse_for_now(self) -> None:
        self.out_of_reach = True

    @override
    def refuse_for_good(self) -> None:
        self.subject = "A parcel\r\nBcc: eve@example.com"

    @override
    def accept(self) -> None:
        self.out_of_reach = False
        self.subject = "A parcel for you"


class TestMailboxProvider(ProviderConformance):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[MailboxRig]:
        rig = MailboxRig()
        async with rig.provider:
            yield rig

    async def test_an_email_is_kept_as_its_receiver_would_get_it(self, rig: MailboxRig) -> None:
        """Headers and all, so that a caller's tests can look at them."""
        sent = message(email(to="bücher@bücher.example", subject="Grüße"))

        receipt = await rig.provider.send(sent)

        kept = rig.kept[0]
        assert receipt.reference == str(kept.id)
        assert (kept.channel, kept.to, kept.subject) == ("email", "bücher@bücher.example", "Grüße")
        assert (kept.text, kept.html) == (BODY, None)
        assert (kept.notification_id, kept.user_id) == (sent.notification_id, sent.user_id)
        assert kept.received_at == NOW
        assert kept.headers["From"] == "Shop <no-reply@example.com>"
        assert kept.headers["Subject"] == "Grüße"
        assert kept.headers["Message-ID"] == f"<{sent.notification_id}@example.com>"
        assert kept.headers["X-Correlation-ID"] == "correlation-1"

    @pytest.mark.parametrize(
        ("channel", "to", "subject"),
        [(SMS, "+4915112345678", None), (PUSH, "token-of-a-telephone", "A parcel")],
    )
    async def test_other_channels_are_kept_too(
        self, rig: MailboxRig, channel: AnyChannel, to: str, subject: str | None
    ) -> None:
        """Each with what its receiver would see."""
        await rig.provider.send(message(channel))

        kept = rig.kept[0]
        assert (kept.channel, kept.to, kept.subject, kept.text) == (channel.type, to, subject, BODY)
        assert kept.headers == {"X-Request-ID": "request-1", "X-Correlation-ID": "correlation-1"}

    async def test_ids_sort_by_time(self, rig: MailboxRig) -> None:
        """The mailbox is read newest first, by id."""
        for _ in range(20):
            await rig.send(rig.message())

        ids = [kept.id for kept in rig.kept]
        assert ids == sorted(ids)
        assert {identity.version for identity in ids} == {7}


def test_a_sender_that_is_no_address_is_refused() -> None:
    """At the start, not at the first message."""
    with pytest.raises(ValueError, match="one email address"):
        MailboxProvider(put=_nowhere, now=now, sender="Shop")


async def _nowhere(_: MailboxMessage) -> None:
    return None
