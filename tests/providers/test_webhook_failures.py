import asyncio
import gzip
import socket

import pytest

from notification_service.adapters.providers.guard import Resolve
from notification_service.domain.channels import WebhookChannel
from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    TransientDeliveryError,
)
from tests.providers import http_peer as http
from tests.providers.certificates import Certificate
from tests.providers.conformance import IMPATIENT, failure
from tests.providers.messages import message
from tests.providers.webhook_rig import WebhookRig, webhook_provider


async def test_half_an_answer_is_ambiguous(webhook_rig: WebhookRig) -> None:
    """The connection ended inside the headers."""
    webhook_rig.peer.behave = http.saying(b"HTTP/1.1 200 OK\r\nContent-Le")

    error = await failure(webhook_rig)

    assert type(error) is AmbiguousDeliveryError
    assert error.error_code == "connection_lost"


async def test_an_answer_that_is_no_http_is_ambiguous(webhook_rig: WebhookRig) -> None:
    """Whoever answers in another language may have taken it or not."""
    webhook_rig.peer.behave = http.saying(b"220 mail.example ESMTP\r\n\r\n")

    error = await failure(webhook_rig)

    assert type(error) is AmbiguousDeliveryError
    assert error.error_code == "invalid_reply"


async def test_a_header_without_an_end_is_cut_off(webhook_rig: WebhookRig) -> None:
    """A megabyte of header is not read into memory."""
    webhook_rig.peer.behave = http.saying(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2**20)

    error = await failure(webhook_rig)

    assert type(error) is AmbiguousDeliveryError


@pytest.mark.parametrize("drip", [b"X: 1\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_dripping_answer_ends_in_time(impatient_webhook_rig: WebhookRig, drip: bytes) -> None:
    """Each byte keeps a read alive, so the whole call has a limit too."""
    impatient_webhook_rig.peer.behave = _dripping(
        b"" if drip.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n", drip
    )

    async with asyncio.timeout(10):
        error = await failure(impatient_webhook_rig)

    assert type(error) is AmbiguousDeliveryError
    assert error.error_code == "read_timeout"


@pytest.mark.parametrize(("status", "taken"), [(200, True), (500, False)])
async def test_a_reply_without_an_end_still_has_a_status(
    webhook_rig: WebhookRig, status: int, taken: bool
) -> None:
    """The status was clear; what follows is not worth the wait."""
    head = f"HTTP/1.1 {status} Whatever\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    webhook_rig.peer.behave = _dripping(head, chunk, pause=0)

    async with asyncio.timeout(10):
        if taken:
            await webhook_rig.send(webhook_rig.message())
        else:
            assert type(await failure(webhook_rig)) is TransientDeliveryError

    async with asyncio.timeout(2):
        await webhook_rig.all_closed()


async def test_a_reply_that_drips_on_is_left_when_the_time_is_over(impatient_webhook_rig: WebhookRig) -> None:
    """The message was taken, and that is what counts."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    impatient_webhook_rig.peer.behave = _dripping(head, b"1\r\nx\r\n")

    async with asyncio.timeout(10):
        await impatient_webhook_rig.send(impatient_webhook_rig.message())


async def test_a_compressed_reply_is_not_unpacked(webhook_rig: WebhookRig) -> None:
    """A few kilobytes could become gigabytes."""
    bomb = gzip.compress(b"0" * 10_000_000)
    webhook_rig.peer.behave = http.answering(400, headers="Content-Encoding: gzip\r\n", body=bomb)

    error = await failure(webhook_rig)

    assert "000000" not in error.detail
    assert len(error.detail) < 300


async def test_only_a_printable_beginning_of_the_reply_is_kept(webhook_rig: WebhookRig) -> None:
    """It ends up in a browser and a terminal."""
    webhook_rig.peer.behave = http.answering(400, body=b"a\x1b[31mred\x00\r\nX: 1 \xff" + b"z" * 5000)

    error = await failure(webhook_rig)

    assert error.detail.isprintable()
    assert "red X: 1" in error.detail
    assert len(error.detail) <= 230


async def test_a_refused_connection_is_transient(webhook_rig: WebhookRig, free_port: int) -> None:
    """Nothing was sent."""
    error = await failure(webhook_rig, message(WebhookChannel(url=f"http://127.0.0.1:{free_port}/")))

    assert type(error) is TransientDeliveryError
    assert error.error_code == "connect_failed"


async def test_a_name_that_does_not_exist_is_transient() -> None:
    """Name servers have bad days."""
    error = await _failure_with(_no_such_name)

    assert type(error) is TransientDeliveryError
    assert error.error_code == "dns_failed"


async def test_a_resolver_that_takes_too_long_is_transient() -> None:
    """Looking up is part of connecting, and has its limit."""
    error = await _failure_with(_never_resolves)

    assert type(error) is TransientDeliveryError
    assert error.error_code == "connect_timeout"


async def test_a_certificate_nobody_vouches_for_is_transient(
    webhook_rig: WebhookRig, certificate: Certificate
) -> None:
    """Nothing was sent, and an expired certificate gets renewed."""
    async with http.http_peer(tls=certificate.server()) as peer:
        error = await failure(webhook_rig, message(WebhookChannel(url=f"https://127.0.0.1:{peer.port}/")))

    assert type(error) is TransientDeliveryError
    assert error.error_code == "tls_failed"
    assert peer.requests == []


async def test_tls_speaks_to_the_name_and_not_to_the_address(certificate: Certificate) -> None:
    """The address was looked up by us, but SNI, certificate and Host are the name's."""
    names: list[str | None] = []
    server = certificate.server()
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    async with (
        http.http_peer(tls=server) as peer,
        webhook_provider(resolve=_loopback, tls=certificate.client()) as provider,
    ):
        await provider.send(message(WebhookChannel(url=f"https://hooks.example:{peer.port}/in?a=1")))

    assert names == ["hooks.example"]
    assert peer.requests[0].headers["host"] == f"hooks.example:{peer.port}"
    assert peer.requests[0].target == "/in?a=1"


def _dripping(head: bytes, drip: bytes, *, pause: float = 0.02) -> http.Behaviour:
    async def behave(_: http.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


async def _failure_with(resolve: Resolve) -> DeliveryError:
    async with webhook_provider(resolve=resolve, timeout=IMPATIENT) as provider:
        with pytest.raises(DeliveryError) as caught:
            await provider.send(message(WebhookChannel(url="https://hooks.example/")))
    return caught.value


async def _loopback(name: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def _no_such_name(name: str, port: int) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def _never_resolves(name: str, port: int) -> list[str]:
    await asyncio.sleep(60)
    return []
