"""The webhook provider and an HTTP server that obeys."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import override

from notification_service.adapters.providers.guard import OutboundGuard, Resolve, system_resolve
from notification_service.adapters.providers.webhook import WebhookProvider
from notification_service.domain.channels import WebhookChannel
from notification_service.domain.notification import Message
from tests.providers import http_peer as http
from tests.providers.conformance import PATIENT, RemoteRig
from tests.providers.messages import SECRET, message, now

LOOPBACK = ip_network("127.0.0.0/8")


def webhook_provider(
    *,
    secret: str = SECRET,
    resolve: Resolve = system_resolve,
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], datetime] = now,
    timeout: timedelta = PATIENT,
) -> WebhookProvider:
    return WebhookProvider(
        secret=secret,
        guard=OutboundGuard(require_https=True, allowed_networks=[LOOPBACK], resolve=resolve),
        timeout=timeout,
        tls=tls,
        now=clock,
    )


class WebhookRig(RemoteRig):
    """A webhook provider and an HTTP server that obeys."""

    secrets = (SECRET, SECRET.removeprefix("whsec_"))

    def __init__(
        self, provider: WebhookProvider, peer: http.HttpPeer, leave: Callable[[], Awaitable[None]]
    ) -> None:
        self.provider = provider
        self.peer = peer
        self.taken: list[str] = []
        self._leave = leave
        self.accept()

    @override
    def private(self, message: Message) -> list[str]:
        return [*super().private(message), f"127.0.0.1:{self.peer.port}", "/hooks/4711"]

    @property
    @override
    def connections(self) -> int:
        return self.peer.connections

    @property
    @override
    def keys(self) -> list[str]:
        return self.taken

    @override
    def message(self) -> Message:
        return message(WebhookChannel(url=self.peer.url))

    @override
    def accept(self) -> None:
        self.peer.behave = self._take

    async def _take(self, request: http.Request, writer: asyncio.StreamWriter) -> None:
        self.taken.append(request.headers["webhook-id"])
        await http.answering(204)(request, writer)

    @override
    def refuse_for_now(self) -> None:
        self.peer.behave = http.refusing_with_the_address

    @override
    def refuse_for_good(self) -> None:
        self.peer.behave = http.refusing_with_the_body

    @override
    def cut(self) -> None:
        self.peer.behave = http.cutting

    @override
    def stall(self) -> None:
        self.peer.behave = http.stalling

    @override
    async def leave(self) -> None:
        await self._leave()

    @override
    async def drop_idle(self) -> None:
        self.peer.hang_up()
        await asyncio.sleep(0.05)

    @override
    async def all_closed(self) -> None:
        await self.peer.deserted.wait()


@asynccontextmanager
async def a_webhook_rig(timeout: timedelta = PATIENT) -> AsyncGenerator[WebhookRig]:
    async with AsyncExitStack() as listening, webhook_provider(timeout=timeout) as provider:
        peer = await listening.enter_async_context(http.http_peer())
        yield WebhookRig(provider, peer, listening.aclose)
