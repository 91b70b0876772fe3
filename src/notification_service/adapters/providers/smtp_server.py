"""One SMTP server: where it is, how its connections are made private and who signs in."""

import socket
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from aiosmtplib import SMTP

_SCHEMES = ("smtp", "smtp+starttls", "smtps")
_EXPLANATION = (
    "must look like smtp://user:password@host:port, with smtp://, smtp+starttls:// or smtps:// "
    "and user and password percent-encoded"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """What a URL says about a server.

    `smtp://` uses STARTTLS when it is offered, `smtp+starttls://` insists on it, `smtps://` speaks TLS from
    the first byte. Certificates are verified in all three. Over `smtp://` a server that offers no STARTTLS is
    told the password in the clear, so a server beyond one's own network wants one of the others.
    """

    host: str
    port: int | None
    scheme: str
    username: str | None
    password: str | None = field(repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read a URL; raises ValueError, which never repeats it, when it is none."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(_EXPLANATION) from None
        if not _is_server(parts):
            raise ValueError(_EXPLANATION)
        return cls(
            host=parts.hostname or "",
            port=port,
            scheme=parts.scheme,
            username=parts.username and unquote(parts.username),
            password=parts.password and unquote(parts.password),
        )

    async def connect(self, *, tls: ssl.SSLContext, timeout: timedelta) -> SMTP:
        """Return a connection that is greeted, private as the scheme demands, and signed in.

        `timeout` bounds each step. Without a port in the URL it is 25, 587 or 465, in the schemes' order.
        """
        client = SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.scheme == "smtps",
            start_tls=True if self.scheme == "smtp+starttls" else None,
            tls_context=tls,
            timeout=timeout.total_seconds(),
            local_hostname=_own_name(),
        )
        await client.connect()
        await _greet(client)
        return client


def _is_server(parts: SplitResult) -> bool:
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    return parts.scheme in _SCHEMES and bool(parts.hostname) and not beyond


def _own_name() -> str:
    """Return what to say in EHLO: a full name or an address literal (RFC 5321, 4.1.1.1); DNS is not asked."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


async def _greet(client: SMTP) -> None:
    """Say EHLO again where TLS made the server forget the first, so that its abilities are known."""
    if not client.is_ehlo_or_helo_needed:
        return
    try:
        await client.ehlo()
    except BaseException:
        client.close()
        raise
