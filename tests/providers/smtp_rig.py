"""The SMTP provider and a real server that obeys."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import override

from aiosmtpd.smtp import SMTP, Envelope

from notification_service.adapters.providers.smtp import SmtpProvider
from notification_service.domain.notification import Message
from tests.providers.conformance import PATIENT, RemoteRig
from tests.providers.messages import email, message, now
from tests.providers.smtp_peer import Post, post_office, transport_of

SYSTEM_TLS = ssl.create_default_context()
SENDER = "The Shop <no-reply@example.com>"


def smtp_provider(
    address: str,
    *,
    scheme: str = "smtp",
    sender: str = SENDER,
    tls: ssl.SSLContext = SYSTEM_TLS,
    connections: int = 10,
    timeout: timedelta = PATIENT,
) -> SmtpProvider:
    return SmtpProvider(
        url=f"{scheme}://{address}",
        sender=sender,
        timeout=timeout,
        connections=connections,
        tls=tls,
        now=now,
    )


class SmtpRig(RemoteRig):
    def __init__(self, provider: SmtpProvider, post: Post, leave: Callable[[], Awaitable[None]]) -> None:
        self.provider = provider
        self.post = post
        self._leave = leave

    @property
    @override
    def connections(self) -> int:
        return self.post.connections

    @property
    @override
    def keys(self) -> list[str]:
        return [letter.mail["Message-ID"] for letter in self.post.letters]

    @override
    def message(self) -> Message:
        return message(email())

    @override
    def accept(self) -> None:
        self.post.after_content = None

    @override
    def refuse_for_now(self) -> None:
        self.post.after_content = _refusing_with_the_address

    @override
    def refuse_for_good(self) -> None:
        self.post.after_content = _refusing_with_the_body

    @override
    def cut(self) -> None:
        self.post.after_content = _cutting

    @override
    def stall(self) -> None:
        self.post.after_content = _stalling

    @override
    async def leave(self) -> None:
        await self._leave()

    @override
    async def drop_idle(self) -> None:
        self.post.hang_up()
        await asyncio.sleep(0.05)

    @override
    async def all_closed(self) -> None:
        await self.post.deserted.wait()


@asynccontextmanager
async def an_smtp_rig(timeout: timedelta = PATIENT) -> AsyncGenerator[SmtpRig]:
    async with AsyncExitStack() as listening:
        post = await listening.enter_async_context(post_office())
        # Few connections, so that many messages share them.
        async with smtp_provider(f"127.0.0.1:{post.port}", connections=3, timeout=timeout) as provider:
            yield SmtpRig(provider, post, listening.aclose)


async def _refusing_with_the_address(_: SMTP, envelope: Envelope) -> str:
    return f"451 <{envelope.rcpt_tos[0]}>: not now"


async def _refusing_with_the_body(_: SMTP, envelope: Envelope) -> str:
    assert isinstance(envelope.content, bytes)
    body = envelope.content.partition(b"\r\n\r\n")[2]
    return f"554 never: {body.decode().strip()}"


async def _cutting(server: SMTP, _: Envelope) -> str:
    transport_of(server).abort()
    return "250 too late"


async def _stalling(_: SMTP, __: Envelope) -> str:
    await asyncio.sleep(60)
    return "250 too late"
