"""The outbound guard: what callers make us connect to is the public internet and nothing else."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import override

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from notification_service.adapters.providers.special_networks import is_public
from notification_service.domain.errors import NotificationServiceError

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network
type Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a name up, once: (name, port) → addresses as text; raises OSError when there are none."""

# No userinfo, percent-encoding, backslash, space or control character, on which parsers disagree.
_URL = re.compile(
    r"https?://(?:\[[0-9a-f:.]+\]|[^\x00-\x20\x7f/?#@\\%\[\]:]+)(?::[0-9]{1,5})?(?:[/?#][^\x00-\x20\x7f\\]*)?",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"(?=.{1,254}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
# What inet_aton and browsers take for a number: 2130706433, 127.1, 0177.0.0.1, 0x7f.1 (WHATWG URL, 3.5).
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_OWN_PORT = {"http": 80, "https": 443}


class ForbiddenAddressError(NotificationServiceError):
    """the address is not one that may be reached from here"""

    code = "forbidden_address"


_RESOLVERS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="resolve")


async def system_resolve(name: str, port: int) -> Sequence[str]:
    """Look a name up with the system's resolver."""
    # In threads of their own: slow names of one receiver never hold up the look-ups of other connections.
    ask = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, ask)
    return [str(answer[4][0]) for answer in answers]


class OutboundGuard(AbstractResolver):
    """Judges a URL before it is used and, as the connector's resolver, every address behind its name.

    A connection is made to the very addresses judged here: the connector gets them from `resolve` and asks
    nobody else.

    A public address is reached by https on port 443 and, unless `require_https`, by http on port 80. A name
    is refused as soon as one of its addresses is not public: one that also points inside is none to trust.
    Addresses in `allowed_networks` are exempt: any port, plain http; a name that has such an address is
    reached by those of its addresses alone. A scheme on the other scheme's port is always refused, so that
    the port tells `resolve` which scheme it is asked for.
    """

    def __init__(
        self,
        *,
        require_https: bool,
        allowed_networks: Sequence[Network] = (),
        resolve: Resolve = system_resolve,
    ) -> None:
        self._public_ports = frozenset({443}) if require_https else frozenset({80, 443})
        self._allowed_networks = tuple(allowed_networks)
        self._look_up = resolve

    def admit(self, text: str) -> URL:
        """Return the URL to use, or raise `ForbiddenAddressError`; nothing is looked up.

        Numeric hosts are judged here, since a connector doesn't resolve them.
        """
        url = _parse(text)
        host, port = url.raw_host or "", url.port or 0
        if any(port == own and url.scheme != scheme for scheme, own in _OWN_PORT.items()):
            raise ForbiddenAddressError
        if ":" in host or _ENDS_IN_NUMBER.fullmatch(host):
            self._reachable([host], port)
        elif not _NAME.fullmatch(host) or not self._may_be_reached_by_name(port):
            raise ForbiddenAddressError
        return url

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look the name up once; return where it may be reached, or raise `ForbiddenAddressError`."""
        del family  # the connector sorts families by itself
        answers = await self._look_up(host, port)
        if not answers:
            raise OSError(None, "the name has no address")
        return [_result(host, port, address) for address in self._reachable(answers, port)]

    @override
    async def close(self) -> None:
        """Release nothing: nothing is held."""

    def _may_be_reached_by_name(self, port: int) -> bool:
        return port in self._public_ports or bool(self._allowed_networks)

    def _reachable(self, answers: Sequence[str], port: int) -> list[Address]:
        addresses = [_address(text) for text in answers]
        exempt = [address for address in addresses if self._is_exempt(address)]
        if exempt:
            return exempt
        if port in self._public_ports and all(is_public(address) for address in addresses):
            return addresses
        raise ForbiddenAddressError

    def _is_exempt(self, address: Address) -> bool:
        return any(address in network for network in self._allowed_networks)


def _parse(text: str) -> URL:
    if not _URL.fullmatch(text):
        raise ForbiddenAddressError
    try:
        return URL(text)
    except ValueError:
        raise ForbiddenAddressError from None


def _address(text: str) -> Address:
    """Read an address in its canonical form; every other spelling is refused, whatever it means."""
    try:
        return ip_address(text)
    except ValueError:
        raise ForbiddenAddressError from None


def _result(host: str, port: int, address: Address) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST,
    )
