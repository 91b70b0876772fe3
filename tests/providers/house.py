"""A provider inside a house that it must not look into, and a spy at the door."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import aiohappyeyeballs
import pytest

from notification_service.adapters.providers.guard import OutboundGuard
from notification_service.adapters.providers.webhook import WebhookProvider
from notification_service.domain.channels import WebhookChannel
from notification_service.domain.errors import DeliveryError
from tests.providers.http_peer import HttpPeer, http_peer
from tests.providers.messages import SECRET, message, now

type Connect = Callable[..., Awaitable[socket.socket]]


@dataclass
class NameServer:
    """Answers about a name, one answer after the other; the last one stays."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    look_ups: list[str] = field(default_factory=list)

    async def resolve(self, name: str, port: int) -> Sequence[str]:
        self.look_ups.append(name)
        answers = self.answers.get(name) or [_as_a_lenient_resolver(name)]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass
class House:
    """Listeners on loopback that must not be reached, and every address a socket was to be connected to."""

    inside: HttpPeer
    inside_ipv6: HttpPeer | None
    names: NameServer
    guard: OutboundGuard
    provider: WebhookProvider
    attempts: list[tuple[str, int]]

    async def send(self, url: str) -> None:
        await self.provider.send(message(WebhookChannel.model_construct(url=url)))

    async def refusal(self, url: str) -> DeliveryError:
        with pytest.raises(DeliveryError) as caught:
            await self.send(url)
        return caught.value

    @property
    def was_seen(self) -> bool:
        return bool(self.inside.connections or (self.inside_ipv6 and self.inside_ipv6.connections))


@asynccontextmanager
async def a_house(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[House]:
    """Let nothing out but to loopback, and take note of every attempt."""
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(http_peer())
        inside_ipv6 = None
        with suppress(OSError):  # a machine without IPv6
            inside_ipv6 = await stack.enter_async_context(http_peer(host="::1", port=inside.port))
        names = NameServer()
        guard = OutboundGuard(require_https=False, resolve=names.resolve)
        # The listeners can't have the ports 80 and 443, and the port shall not be what is refused.
        guard._public_ports = frozenset({inside.port, 80, 443})
        provider = WebhookProvider(secret=SECRET, guard=guard, timeout=timedelta(seconds=2), now=now)
        house = House(inside, inside_ipv6, names, guard, await stack.enter_async_context(provider), [])
        monkeypatch.setattr(
            aiohappyeyeballs, "start_connection", _spy(aiohappyeyeballs.start_connection, house.attempts)
        )
        yield house


def _spy(connect: Connect, attempts: list[tuple[str, int]]) -> Connect:
    async def start_connection(addr_infos: Sequence[Any], **options: Any) -> socket.socket:
        attempts.extend(info[4][:2] for info in addr_infos)
        if all(ip_address(info[4][0]).is_loopback for info in addr_infos):
            return await connect(addr_infos, **options)
        raise ConnectionRefusedError(111, "no test leaves this machine")

    return start_connection


def _as_a_lenient_resolver(name: str) -> list[str]:
    """Answer as the system's resolver would without a network: local names, and numbers however written."""
    if "localhost" in name:
        return ["127.0.0.1", "::1"]
    try:
        return [socket.inet_ntoa(socket.inet_aton(name.rstrip(".")))]
    except OSError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
