import asyncio
from datetime import timedelta
from email.headerregistry import Address

import pytest

from notification_service.adapters.providers import smtp_pool
from notification_service.domain.errors import DeliveryError, TransientDeliveryError
from tests.providers.certificates import Certificate
from tests.providers.conformance import RemoteProviderConformance, failure
from tests.providers.messages import BODY, email, message
from tests.providers.smtp_peer import Post, authenticator, post_office
from tests.providers.smtp_rig import SYSTEM_TLS, SmtpRig, smtp_provider


class TestSmtpProvider(RemoteProviderConformance):
    """The suite, as it is."""

    @pytest.fixture
    def rig(self, smtp_rig: SmtpRig) -> SmtpRig:
        return smtp_rig

    @pytest.fixture
    def impatient_rig(self, impatient_smtp_rig: SmtpRig) -> SmtpRig:
        return impatient_smtp_rig


async def test_the_email_arrives_as_it_was_written(smtp_rig: SmtpRig) -> None:
    """Envelope, headers and text."""
    sent = message(email(to="ann@example.org", subject="Grüße ✓"), body="Hallo Änn,\n.\n..dots\r\nEnd")

    await smtp_rig.send(sent)

    letter = smtp_rig.post.letters[0]
    mail = letter.mail
    assert (letter.sender, letter.receivers) == ("no-reply@example.com", ["ann@example.org"])
    assert mail["From"].addresses == (Address("The Shop", "no-reply", "example.com"),)
    assert (mail["To"], mail["Subject"]) == ("ann@example.org", "Grüße ✓")
    assert mail["Message-ID"] == f"<{sent.notification_id}@example.com>"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:30:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Correlation-ID"] == "correlation-1"
    assert mail.get_content().splitlines() == ["Hallo Änn,", ".", "..dots", "End"]
    assert letter.content.isascii()


async def test_concurrent_messages_share_a_bounded_number_of_connections(smtp_rig: SmtpRig) -> None:
    """Servers count connections, and refuse whoever has too many."""
    await asyncio.gather(*(smtp_rig.send(smtp_rig.message()) for _ in range(30)))

    assert len(smtp_rig.post.letters) == 30
    assert smtp_rig.connections <= 3


async def test_a_refusal_keeps_the_connection(smtp_rig: SmtpRig) -> None:
    """A bad address among good ones costs no new greeting and sign-in."""
    smtp_rig.refuse_for_good()
    await failure(smtp_rig)
    smtp_rig.accept()

    await smtp_rig.send(smtp_rig.message())

    assert smtp_rig.connections == 1


async def test_a_connection_idle_for_long_is_not_used_again(
    smtp_rig: SmtpRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is likely to have dropped it."""
    await smtp_rig.send(smtp_rig.message())
    monkeypatch.setattr(smtp_pool, "LONGEST_IDLE", timedelta())

    await smtp_rig.send(smtp_rig.message())

    assert smtp_rig.connections == 2


# --- privacy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls"])
async def test_starttls_is_used_when_it_is_offered(certificate: Certificate, scheme: str) -> None:
    """Asked for or not."""
    async with post_office(tls_context=certificate.server()) as post:
        await _send_one(post, scheme, certificate)

    assert post.letters[0].over_tls


async def test_implicit_tls_is_spoken_from_the_first_byte(certificate: Certificate) -> None:
    """That is what smtps:// means."""
    async with post_office(implicit_tls=certificate.server()) as post:
        await _send_one(post, "smtps", certificate)

    assert post.letters[0].over_tls


async def test_without_starttls_smtp_goes_on_in_the_clear() -> None:
    """A relay next door often has none."""
    async with post_office() as post:
        await _send_one(post, "smtp", None)

    assert not post.letters[0].over_tls


async def test_without_starttls_nothing_is_sent_where_it_is_required() -> None:
    """It may have been taken out on the way."""
    async with post_office() as post:
        error = await _failure_to_send(post, "smtp+starttls", None)

    assert type(error) is TransientDeliveryError
    assert error.error_code == "server_unfit"
    assert post.letters == []


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
async def test_a_certificate_nobody_vouches_for_is_not_accepted(
    certificate: Certificate, scheme: str
) -> None:
    """Whoever is there, nothing is sent; the message waits for a better certificate."""
    served = certificate.server()
    options = {"implicit_tls": served} if scheme == "smtps" else {"tls_context": served}
    async with post_office(**options) as post:
        error = await _failure_to_send(post, scheme, None)

    assert type(error) is TransientDeliveryError
    assert error.error_code == "tls_failed"
    assert post.letters == []


async def test_user_and_password_are_percent_decoded(certificate: Certificate) -> None:
    """A password may hold any character."""
    office = post_office(
        tls_context=certificate.server(), auth_required=True, authenticator=authenticator("shop@x", "p:@/ß%")
    )
    async with office as post:
        await _send_one(post, "smtp+starttls", certificate, user="shop%40x:p%3A%40%2F%C3%9F%25@")

    assert post.letters[0].user == "shop@x"


async def test_a_wrong_password_is_transient(certificate: Certificate) -> None:
    """It says nothing of the message, and somebody will correct it."""
    office = post_office(
        tls_context=certificate.server(), auth_required=True, authenticator=authenticator("shop", "right")
    )
    async with office as post:
        error = await _failure_to_send(post, "smtp+starttls", certificate, user="shop:wrong-password@")

    assert type(error) is TransientDeliveryError
    assert error.error_code == "smtp_535"
    assert "wrong-password" not in f"{error!r}{error.detail}"


# --- addresses beyond ASCII -------------------------------------------------------------------------


async def test_a_domain_beyond_ascii_needs_nothing_of_the_server(smtp_rig: SmtpRig) -> None:
    """DNS knows it in ASCII."""
    await smtp_rig.send(message(email(to="ann@bücher.example")))

    assert smtp_rig.post.letters[0].receivers == ["ann@xn--bcher-kva.example"]


@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_local_part_beyond_ascii_is_sent_where_the_server_takes_it(
    certificate: Certificate, over_tls: bool
) -> None:
    """With SMTPUTF8, in the envelope and in the header; over TLS the server says only then that it can."""
    office = post_office(enable_SMTPUTF8=True, tls_context=certificate.server() if over_tls else None)
    async with office as post, smtp_provider(f"localhost:{post.port}", tls=certificate.client()) as provider:
        await provider.send(message(email(to="änn@bücher.example")))

    letter = post.letters[0]
    assert "SMTPUTF8" in letter.options
    assert letter.receivers == ["änn@xn--bcher-kva.example"]
    assert "To: änn@xn--bcher-kva.example".encode() in letter.content


async def test_a_local_part_beyond_ascii_is_refused_for_good_elsewhere(smtp_rig: SmtpRig) -> None:
    """Another attempt at the same server would end the same."""
    error = await failure(smtp_rig, message(email(to="änn@example.com")))

    assert error.error_code == "smtputf8_unsupported"
    assert smtp_rig.post.letters == []


# --- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "", "smtp://", "post.example:25", "http://post.example", "smtp+tls://post.example", "smtp://post.example:port",
        "smtp://post.example:99999", "smtp://shop:s3cret#word@post.example", "smtp://shop:s3cret/word@post.example",
        "smtp://post.example/path", "smtp://post.example?tls=1", "smtp://[::1",
    ],
)  # fmt: skip
def test_an_url_of_another_form_is_refused_unspoken(url: str) -> None:
    """It may hold a password, even in the wrong place."""
    with pytest.raises(ValueError, match="must look like smtp://user:password@host:port") as caught:
        smtp_provider(url.partition("://")[2], scheme=url.partition("://")[0])

    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("sender", ["", "Shop", "a@b, c@d", "a@b\r\nBcc: c@d", "<>"])
def test_a_sender_that_is_no_address_is_refused(sender: str) -> None:
    """At the start, not at the first message."""
    with pytest.raises(ValueError, match="must be one email address"):
        smtp_provider("post.example", sender=sender)


async def _send_one(post: Post, scheme: str, certificate: Certificate | None, *, user: str = "") -> None:
    tls = certificate.client() if certificate else SYSTEM_TLS
    async with smtp_provider(f"{user}localhost:{post.port}", scheme=scheme, tls=tls) as provider:
        await provider.check()
        await provider.send(message(email(), body=BODY))


async def _failure_to_send(
    post: Post, scheme: str, certificate: Certificate | None, *, user: str = ""
) -> DeliveryError:
    tls = certificate.client() if certificate else SYSTEM_TLS
    async with smtp_provider(f"{user}localhost:{post.port}", scheme=scheme, tls=tls) as provider:
        with pytest.raises(DeliveryError) as caught:
            await provider.send(message(email()))
    return caught.value
