"""What every provider must keep: the sentences of the port, as tests for each provider to inherit."""

import asyncio
import re
from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import timedelta
from traceback import format_exception

import pytest

from notification_service.domain.channels import InAppChannel, recipient
from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.notification import Message, ProviderReceipt
from notification_service.ports import Provider
from tests.providers.messages import BODY

PATIENT, IMPATIENT = timedelta(seconds=20), timedelta(seconds=0.6)
"""The time limit of calls that shall end by themselves, and of those that shall not."""


class Rig(ABC):
    """An entered provider and the other end, which can be told to misbehave."""

    provider: Provider
    secrets: tuple[str, ...] = ()

    def private(self, message: Message) -> list[str]:
        """What no error may show, nor anything that is printed with it."""
        address = recipient(message.channel) or BODY
        return [BODY, BODY[:20], BODY[5:25], message.user_id, address, *self.secrets]

    @property
    @abstractmethod
    def keys(self) -> list[str]:
        """The constant key of each message the other end took, in order."""

    @abstractmethod
    def message(self) -> Message:
        """A message the other end takes."""

    @abstractmethod
    def refuse_for_now(self) -> None:
        """From now on the other end refuses for now, repeating where the message went."""

    @abstractmethod
    def refuse_for_good(self) -> None:
        """From now on the other end refuses for good, repeating the message."""

    @abstractmethod
    def accept(self) -> None:
        """From now on the other end takes what it gets again."""

    async def send(self, message: Message) -> ProviderReceipt:
        return await self.provider.send(message)


class RemoteRig(Rig):
    """A rig whose other end is a server."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """How many connections were made to the server."""

    @abstractmethod
    async def drop_idle(self) -> None:
        """Have the server hang up on what is idle, and return when the provider can know."""

    @abstractmethod
    def cut(self) -> None:
        """From now on the server hangs up as soon as it has the whole message."""

    @abstractmethod
    def stall(self) -> None:
        """From now on the server doesn't answer once it has the whole message."""

    @abstractmethod
    async def leave(self) -> None:
        """Stop the server, and drop its connections."""

    @abstractmethod
    async def all_closed(self) -> None:
        """Return when no connection to the server is open."""


async def failure(rig: Rig, message: Message | None = None) -> DeliveryError:
    """Send and return the error; one of another kind fails the test, or one that tells too much."""
    sent = message or rig.message()
    with pytest.raises(DeliveryError) as caught:
        await rig.send(sent)
    # With all that a log would show of it: the errors it came from, too.
    shown = "".join(format_exception(caught.value)) + caught.value.detail
    assert not [piece for piece in rig.private(sent) if piece in shown]
    return caught.value


class ProviderConformance:
    """Inherit this and provide a `rig` fixture."""

    def test_its_name_is_its_file(self, rig: Rig) -> None:
        """The setting's value finds the file."""
        assert type(rig.provider).__module__.rpartition(".")[2] == rig.provider.name

    async def test_a_message_is_taken_when_send_returns(self, rig: Rig) -> None:
        """The receipt comes after the fact."""
        message = rig.message()

        receipt = await rig.send(message)

        assert isinstance(receipt, ProviderReceipt)
        assert len(rig.keys) == 1
        assert str(message.notification_id) in rig.keys[0]

    async def test_many_at_once_arrive_once_each(self, rig: Rig) -> None:
        """Calls may overlap as they like."""
        messages = [rig.message() for _ in range(60)]

        await asyncio.gather(*(rig.send(message) for message in messages))

        assert len(rig.keys) == len(set(rig.keys)) == len(messages)

    async def test_the_key_is_the_same_on_every_attempt(self, rig: Rig) -> None:
        """Whoever gets a message twice can tell."""
        message = rig.message()

        await rig.send(message)
        await rig.send(replace(message, attempt=2))

        first, second = rig.keys
        assert first == second

    async def test_a_refusal_for_now_is_transient(self, rig: Rig) -> None:
        """A later attempt may succeed, so it must be made."""
        rig.refuse_for_now()

        error = await failure(rig)

        assert type(error) is TransientDeliveryError

    async def test_a_refusal_for_good_is_permanent(self, rig: Rig) -> None:
        """Another attempt would be a waste, so none may be made."""
        rig.refuse_for_good()

        error = await failure(rig)

        assert type(error) is PermanentDeliveryError

    async def test_an_error_names_the_provider_and_can_be_counted(self, rig: Rig) -> None:
        """The code is a metric's label: short and of few values."""
        rig.refuse_for_good()

        error = await failure(rig)

        assert error.provider == rig.provider.name
        assert re.fullmatch(r"[a-z0-9_]{1,40}", error.error_code)

    async def test_a_refusal_is_not_the_end(self, rig: Rig) -> None:
        """The next message goes through as if nothing had been."""
        rig.refuse_for_good()
        await failure(rig)
        rig.accept()

        await rig.send(rig.message())

        assert len(rig.keys) == 1

    async def test_no_error_holds_an_address_a_body_or_a_secret(self, rig: Rig) -> None:
        """Even when the other end repeats all it was sent."""
        for misbehave in (rig.refuse_for_now, rig.refuse_for_good):
            misbehave()

            error = await failure(rig)

            assert error.detail.isprintable()

    async def test_a_channel_it_does_not_serve_is_refused_for_good(self, rig: Rig) -> None:
        """A wrong route is nothing that time heals."""
        if "in_app" in rig.provider.channels:
            return

        error = await failure(rig, replace(rig.message(), channel=InAppChannel()))

        assert type(error) is PermanentDeliveryError
        assert rig.keys == []

    async def test_a_cancelled_call_harms_no_other(self, rig: Rig) -> None:
        """A worker gives a call up when its time is over."""
        given_up = asyncio.create_task(rig.send(rig.message()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        message = rig.message()

        await rig.send(message)

        assert str(message.notification_id) in rig.keys[-1]

    async def test_a_check_is_one_line_and_sends_nothing(self, rig: Rig) -> None:
        """The line stands in the readiness report."""
        line = await rig.provider.check()

        assert line
        assert "\n" not in line
        assert rig.keys == []


class RemoteProviderConformance(ProviderConformance):
    """What a provider must keep besides when a network lies between it and the other end.

    Provide an `impatient_rig` too, whose calls are limited to `IMPATIENT`.
    """

    async def test_connections_are_kept(self, rig: RemoteRig) -> None:
        """A connection for each message would cost more than the message."""
        for _ in range(10):
            await rig.send(rig.message())

        assert rig.connections == 1

    async def test_leaving_closes_every_connection(self, rig: RemoteRig) -> None:
        """Nothing outlives the provider."""
        await asyncio.gather(*(rig.send(rig.message()) for _ in range(5)))

        await rig.provider.__aexit__(None, None, None)

        async with asyncio.timeout(2):
            await rig.all_closed()

    async def test_a_connection_lost_after_the_message_is_ambiguous(self, rig: RemoteRig) -> None:
        """The other end has all of it, and nobody knows what became of it."""
        rig.cut()

        error = await failure(rig)

        assert type(error) is AmbiguousDeliveryError

    async def test_silence_after_the_message_is_ambiguous_and_ends_in_time(
        self, impatient_rig: RemoteRig
    ) -> None:
        """The lease runs out soon after."""
        impatient_rig.stall()

        async with asyncio.timeout(10):
            error = await failure(impatient_rig)

        assert type(error) is AmbiguousDeliveryError

    async def test_a_server_that_is_away_is_transient(self, rig: RemoteRig) -> None:
        """Nothing was sent; it may come back."""
        await rig.leave()

        error = await failure(rig)

        assert type(error) is TransientDeliveryError

    async def test_a_server_that_dropped_an_idle_connection_gets_the_next_message(
        self, rig: RemoteRig
    ) -> None:
        """An old connection gone stale is no reason to fail."""
        await rig.send(rig.message())
        await rig.drop_idle()

        await rig.send(rig.message())

        assert len(rig.keys) == 2
        assert rig.connections == 2
