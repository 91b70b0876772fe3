import asyncio
from datetime import timedelta

import pytest

from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.notification import ProviderReceipt
from tests.providers.conformance import IMPATIENT, PATIENT
from tests.providers.messages import email, message
from tests.providers.smtp_peer import CUT, SILENCE, Script, scripted
from tests.providers.smtp_rig import smtp_provider

SERVER_WITH_AUTH = "250-post.example\r\n250 AUTH PLAIN"


async def failure(script: Script, *, user: str = "", timeout: timedelta = PATIENT) -> DeliveryError:
    async with smtp_provider(f"{user}127.0.0.1:{script.port}", timeout=timeout) as provider:
        with pytest.raises(DeliveryError) as caught:
            await provider.send(message(email()))
    return caught.value


async def two_messages(script: Script, *, timeout: timedelta = PATIENT) -> ProviderReceipt:
    """Send two, the second over the first one's connection if it is still good."""
    async with smtp_provider(f"127.0.0.1:{script.port}", timeout=timeout) as provider:
        await provider.send(message(email()))
        return await provider.send(message(email()))


@pytest.mark.parametrize(
    ("word", "code", "kind"),
    [
        # While we introduce ourselves nothing is said of the message.
        ("connect", 421, TransientDeliveryError),
        ("connect", 554, TransientDeliveryError),
        ("EHLO", 550, TransientDeliveryError),
        ("AUTH", 454, TransientDeliveryError),
        ("AUTH", 535, TransientDeliveryError),
        # Nor where our own address or our rights are the matter; the size is the message's own.
        ("MAIL", 451, TransientDeliveryError),
        ("MAIL", 530, TransientDeliveryError),
        ("MAIL", 553, TransientDeliveryError),
        ("MAIL", 552, PermanentDeliveryError),
        ("RCPT", 450, TransientDeliveryError),
        ("RCPT", 421, TransientDeliveryError),
        ("RCPT", 530, TransientDeliveryError),
        ("RCPT", 550, PermanentDeliveryError),
        ("RCPT", 553, PermanentDeliveryError),
        ("DATA", 451, TransientDeliveryError),
        ("DATA", 554, PermanentDeliveryError),
        ("content", 421, TransientDeliveryError),
        ("content", 452, TransientDeliveryError),
        ("content", 552, PermanentDeliveryError),
        ("content", 554, PermanentDeliveryError),
    ],
)
async def test_a_refusal_means_what_its_place_and_code_say(
    word: str, code: int, kind: type[DeliveryError]
) -> None:
    """Only what is about this message and for good is permanent."""
    answers = {"EHLO": SERVER_WITH_AUTH, "HELO": "550 because"} | {word: f"{code} because"}
    async with scripted(**answers) as script:
        error = await failure(script, user="shop:password@" if word == "AUTH" else "")

    assert type(error) is kind
    assert error.error_code == f"smtp_{code}"
    assert error.detail == f"the server answered {code}: because"


WHEN_LOST: dict[str, type[DeliveryError]] = {
    "connect": TransientDeliveryError,
    "EHLO": TransientDeliveryError,
    "AUTH": TransientDeliveryError,
    "MAIL": TransientDeliveryError,
    "RCPT": TransientDeliveryError,
    "DATA": AmbiguousDeliveryError,
    "content": AmbiguousDeliveryError,
}


@pytest.mark.parametrize("misfortune", [CUT, SILENCE])
async def test_what_a_lost_connection_means_depends_on_how_far_it_got(misfortune: str) -> None:
    """Before the content nothing was taken; after it nobody knows. Either way the call ends in time."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as words:
        endings = {word: words.create_task(_ending_when_lost(word, misfortune)) for word in WHEN_LOST}

    assert {word: ending.result() for word, ending in endings.items()} == WHEN_LOST


async def _ending_when_lost(word: str, misfortune: str) -> type[DeliveryError]:
    async with scripted(**({"EHLO": SERVER_WITH_AUTH} | {word: misfortune})) as script:
        timeout = PATIENT if misfortune == CUT else 3 * IMPATIENT
        error = await failure(script, user="shop:password@", timeout=timeout)

    assert script.heard[-1] == ("." if word == "content" else word)
    assert script.connections == 1
    return type(error)


@pytest.mark.parametrize(
    ("word", "answer", "kind"),
    [
        ("connect", "HTTP/1.1 400 Bad Request", TransientDeliveryError),
        ("MAIL", "what?", TransientDeliveryError),
        ("RCPT", "354 go on", TransientDeliveryError),
        ("content", "what?", AmbiguousDeliveryError),
        ("content", "354 go on", AmbiguousDeliveryError),
        ("content", "250-" + "x" * 100_000, AmbiguousDeliveryError),
    ],
)
async def test_an_answer_that_makes_no_sense_is_as_good_as_none(
    word: str, answer: str, kind: type[DeliveryError]
) -> None:
    """The connection is not used again: who knows what would come next."""
    well_again = "220 post.example" if word == "connect" else "250 fine"
    async with (
        scripted(**{word: [answer, well_again]}) as script,
        smtp_provider(f"127.0.0.1:{script.port}") as provider,
    ):
        with pytest.raises(DeliveryError) as caught:
            await provider.send(message(email()))
        await provider.send(message(email()))

    assert type(caught.value) is kind
    assert script.connections == 2


@pytest.mark.parametrize("word", ["MAIL", "RCPT"])
@pytest.mark.parametrize("misfortune", [CUT, SILENCE, "421 idle for too long"])
async def test_an_old_connection_found_dead_is_replaced_at_once(word: str, misfortune: str) -> None:
    """Nothing was taken, and the server is well: only the connection was old."""
    async with scripted(**{word: ["250 fine", misfortune, "250 fine"]}) as script:
        await two_messages(script, timeout=IMPATIENT * 2 if misfortune == SILENCE else PATIENT)

    assert script.connections == 2
    assert script.heard.count(".") == 2


async def test_a_dead_connection_is_replaced_once_and_no_more() -> None:
    """A server that hangs up on fresh connections too is not well."""
    async with scripted(MAIL=["250 fine", CUT]) as script:
        with pytest.raises(TransientDeliveryError):
            await two_messages(script)

    assert script.connections == 2


@pytest.mark.parametrize("word", ["DATA", "content"])
async def test_nothing_is_sent_again_once_the_content_was_begun(word: str) -> None:
    """It might arrive twice; whether that is worth it is not the provider's decision."""
    async with scripted(**{word: ["354 go on" if word == "DATA" else "250 fine", CUT, "250 fine"]}) as script:
        with pytest.raises(AmbiguousDeliveryError):
            await two_messages(script)

    assert script.connections == 1


async def test_a_transaction_left_open_by_a_refusal_is_reset() -> None:
    """Otherwise the next message's sender would be refused."""
    async with (
        scripted(RCPT=["550 unknown", "250 fine"]) as script,
        smtp_provider(f"127.0.0.1:{script.port}") as provider,
    ):
        with pytest.raises(PermanentDeliveryError):
            await provider.send(message(email()))
        await provider.send(message(email()))

    words = [word for word in script.heard if word in {"MAIL", "RCPT", "RSET", "DATA"}]
    assert words == ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]
    assert script.connections == 1


async def test_a_check_fails_when_the_server_is_away(free_port: int) -> None:
    """Readiness says so before the first message does."""
    async with smtp_provider(f"127.0.0.1:{free_port}") as provider:
        with pytest.raises(TransientDeliveryError):
            await provider.check()


async def test_a_server_that_wants_no_sign_in_where_the_url_has_a_password_is_unfit() -> None:
    """The URL asks for something the server doesn't have."""
    async with scripted() as script:
        error = await failure(script, user="shop:password@")

    assert type(error) is TransientDeliveryError
    assert error.error_code == "server_unfit"


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ann@example.com", "Hi\r\nBcc: eve@example.com"),
        ("ann@example.com", "Hi\nX: y"),
        ("ann@example.com", "Hi \ud800"),
        ("ann@example.com\r\nRCPT TO:<eve@example.com>", "Hi"),
        ("ann@example.com, eve@example.com", "Hi"),
        ("ann@example.com>, <eve@example.com", "Hi"),
        ('"ann,eve@example.com"@example.com', "Hi"),
        ("ann@[127.0.0.1]", "Hi"),
        ("ann", "Hi"),
        ("", "Hi"),
    ],
)
async def test_nothing_can_be_smuggled_into_a_header_or_a_command(to: str, subject: str) -> None:
    """What can't be written safely isn't written at all."""
    async with scripted() as script, smtp_provider(f"127.0.0.1:{script.port}") as provider:
        with pytest.raises(PermanentDeliveryError) as caught:
            await provider.send(message(email(to=to, subject=subject)))

    assert caught.value.error_code == "invalid_header"
    assert script.heard == []
