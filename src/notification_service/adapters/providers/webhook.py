"""A provider that posts signed notifications to the addresses their receivers gave."""

import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Self, override

from aiohttp import (
    BytesPayload,
    ClientConnectorDNSError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from notification_service.adapters.providers.guard import ForbiddenAddressError, OutboundGuard
from notification_service.adapters.providers.replies import excerpt
from notification_service.adapters.providers.signing import Signer, payload
from notification_service.adapters.providers.trail import trail_headers
from notification_service.domain.channels import ChannelType, WebhookChannel
from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.notification import Message, ProviderReceipt

REPLY_BYTES = 65_536
USER_AGENT = f"notification-service/{version('notification-service')}"

_SECONDS = re.compile(r"[0-9]{1,9}")
_TRY_AGAIN = frozenset({408, 425, 429})


class WebhookProvider:
    """Posts to any public https address; what may be reached is the guard's decision.

    The answer is its status: 2xx means taken, 408, 425, 429 and 5xx mean later, everything else (a redirect
    too) means never. The reply's text is read for the history alone.
    """

    name = "webhook"
    channels: frozenset[ChannelType] = frozenset({"webhook"})

    def __init__(
        self,
        *,
        secret: str,
        guard: OutboundGuard,
        timeout: timedelta,
        connect_timeout: timedelta = timedelta(seconds=5),
        connections: int = 1000,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], datetime],
    ) -> None:
        """`secret` is `whsec_` + base64, anything else a ValueError.

        `timeout` bounds the whole call. `tls` replaces the system's certificate authorities.
        """
        self._signer = Signer(secret)
        self._guard = guard
        self._timeout = ClientTimeout(
            total=timeout.total_seconds(), connect=min(connect_timeout, timeout).total_seconds()
        )
        self._connections = connections
        self._tls = tls
        self._now = now

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            connector=TCPConnector(
                resolver=self._guard,
                # A cache would hand out addresses behind the guard's back.
                use_dns_cache=False,
                ssl=True if self._tls is None else self._tls,
                limit=self._connections,
            ),
            cookie_jar=DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
            # Together with `identity` below: no reply grows while it is read.
            auto_decompress=False,
            headers={
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, message: Message) -> ProviderReceipt:
        """Post the message, signed; the webhook-id is the notification's id on every attempt."""
        url = self._address(message)
        body = payload(message)
        headers = self._signer.headers(message, body, at=self._now()) | trail_headers(message)
        letter = _Letter(body.encode())
        try:
            async with self._session.post(url, data=letter, headers=headers, allow_redirects=False) as answer:
                return await self._receipt(answer, message)
        except ForbiddenAddressError:
            raise self._forbidden() from None
        except (ClientError, OSError) as error:
            # From None: aiohttp's own texts name the host.
            raise self._unanswered(error, handed_over=letter.handed_over) from None

    async def check(self) -> str:
        """Say what is there: webhooks have no one peer that could be asked."""
        return f"webhook: ready, at most {self._connections} connections"

    def _address(self, message: Message) -> URL:
        match message.channel:
            case WebhookChannel(url=url):
                try:
                    return self._guard.admit(url)
                except ForbiddenAddressError:
                    raise self._forbidden() from None
            case _:
                raise PermanentDeliveryError(
                    "this provider sends webhooks alone", provider=self.name, error_code="unsupported_channel"
                )

    def _forbidden(self) -> PermanentDeliveryError:
        detail = "the URL does not lead to a public address that webhooks may be sent to"
        return PermanentDeliveryError(detail, provider=self.name, error_code="forbidden_address")

    async def _receipt(self, answer: ClientResponse, message: Message) -> ProviderReceipt:
        reply = await _read(answer)
        if 200 <= answer.status < 300:
            return ProviderReceipt()
        kind = TransientDeliveryError if _may_try_again(answer.status) else PermanentDeliveryError
        raise kind(
            f"the receiver answered {answer.status}: {excerpt(reply, message)}".removesuffix(": "),
            provider=self.name,
            error_code=f"http_{answer.status}",
            retry_after=_retry_after(answer.headers.get("Retry-After"), now=self._now()),
        )

    def _unanswered(self, error: Exception, *, handed_over: bool) -> DeliveryError:
        """Name a call without an answer: once the request was handed over, nobody knows what became of it."""
        kind = AmbiguousDeliveryError if handed_over else TransientDeliveryError
        code, detail = _lost(error) if handed_over else _unreached(error)
        return kind(detail, provider=self.name, error_code=code)


class _Letter(BytesPayload):
    """A request body that remembers whether a connection began to take it."""

    handed_over = False

    @override
    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.handed_over = True
        await super().write_with_length(writer, content_length)


async def _read(answer: ClientResponse) -> str:
    """Return at most `REPLY_BYTES` of the reply; one that breaks off or runs late counts as a short one."""
    reply = bytearray()
    with suppress(ClientError, OSError):
        async for chunk in answer.content.iter_any():
            reply += chunk
            if len(reply) >= REPLY_BYTES:
                break
    return reply[:REPLY_BYTES].decode(errors="replace")


def _may_try_again(status: int) -> bool:
    return status in _TRY_AGAIN or status >= 500


def _retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read a Retry-After header, seconds or an HTTP date (RFC 9110, 10.2.3); None when it is neither."""
    if value is None:
        return None
    try:
        if _SECONDS.fullmatch(value):
            return timedelta(seconds=int(value))
        moment = parsedate_to_datetime(value)
        return max(moment.replace(tzinfo=moment.tzinfo or UTC) - now, timedelta())
    except (ValueError, OverflowError):
        return None


def _unreached(error: Exception) -> tuple[str, str]:
    match error:
        case ClientConnectorDNSError():
            return "dns_failed", "the name could not be resolved"
        case ClientSSLError():
            return "tls_failed", "no trusted TLS connection could be made"
        case TimeoutError():
            return "connect_timeout", "no connection in time"
        case _:
            return "connect_failed", "no connection could be made"


def _lost(error: Exception) -> tuple[str, str]:
    match error:
        case TimeoutError():
            return "read_timeout", "no answer in time"
        case ClientResponseError():
            return "invalid_reply", "the answer was not HTTP"
        case _:
            return "connection_lost", "the connection was lost before the answer"
