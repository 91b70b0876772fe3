"""A provider that hands emails to an SMTP server."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import MessageError
from enum import Enum
from typing import Self

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPNotSupported,
    SMTPReadTimeoutError,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from notification_service.adapters.providers.mail import compose, mail_address, needs_smtputf8
from notification_service.adapters.providers.replies import excerpt
from notification_service.adapters.providers.smtp_pool import SmtpPool
from notification_service.adapters.providers.smtp_server import SmtpServer
from notification_service.domain.channels import ChannelType, EmailChannel
from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.notification import Message, ProviderReceipt

# RFC 4954 and 3207: the server wants authentication or encryption first.
_OUR_SETTINGS = frozenset({530, 534, 535, 538})
_CLOSING = 421
_TOO_LARGE = 552


class _Stage(Enum):
    """How far a call got, which decides what its failure means."""

    CONNECTING = "connecting"
    ENVELOPE = "envelope"
    CONTENT = "content"


@dataclass(slots=True)
class _Progress:
    stage: _Stage = _Stage.CONNECTING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    sender: str
    receiver: str
    content: bytes
    needs_smtputf8: bool


class SmtpProvider:
    """Sends over a few connections that stay open between messages.

    A 5xx to the receiver or the content is permanent, a 4xx transient. What the server says while we connect,
    greet and sign in, or to our own sender address (the size apart), is about us and not about the message:
    transient. A connection lost before the content was begun has taken nothing: transient, and when it was an
    old one gone stale, the message leaves on a fresh one at once. Lost later, the ending is ambiguous.
    """

    name = "smtp"
    channels: frozenset[ChannelType] = frozenset({"email"})

    def __init__(
        self,
        *,
        url: str,
        sender: str,
        timeout: timedelta,
        connections: int = 10,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], datetime],
    ) -> None:
        """`url` is `smtp://` (STARTTLS when offered), `smtp+starttls://` (required) or `smtps://`.

        `sender` may have a display name. `timeout` bounds the whole call, half of it each step. `tls`
        replaces the system's certificate authorities. A bad URL or sender is a ValueError that does not
        repeat it.
        """
        self._server = SmtpServer.from_url(url)
        self._sender = mail_address(sender)
        self._timeout = timeout
        self._connections = connections
        self._tls = tls or ssl.create_default_context()
        self._now = now

    async def __aenter__(self) -> Self:
        self._pool = SmtpPool(connect=self._connect, size=self._connections)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def send(self, message: Message) -> ProviderReceipt:
        """Hand the message over; its Message-ID is made from the notification's id."""
        letter = self._letter(message)
        progress = _Progress()
        try:
            await self._call(lambda client: _hand_over(client, letter, progress), progress)
        except (SMTPException, OSError) as error:
            # From None: aiosmtplib's own texts name addresses.
            raise self._failure(error, progress.stage, message) from None
        return ProviderReceipt()

    async def check(self) -> str:
        """Ask the server for a sign of life."""
        progress = _Progress()
        try:
            await self._call(SMTP.noop, progress)
        except (SMTPException, OSError) as error:
            raise self._failure(error, progress.stage, None) from None
        return f"smtp: the server answers, at most {self._connections} connections"

    async def _connect(self) -> SMTP:
        # Half the time for a step: when an old connection turns out dead, there is time for a fresh one.
        return await self._server.connect(tls=self._tls, timeout=self._timeout / 2)

    async def _call(self, work: Callable[[SMTP], Awaitable[object]], progress: _Progress) -> None:
        async with asyncio.timeout(self._timeout.total_seconds()), self._pool.lend() as line:
            try:
                await line.use(work)
            except SMTPException as error:
                if not line.reused or progress.stage is _Stage.CONTENT or not _is_gone(error):
                    raise
                progress.stage = _Stage.CONNECTING
                await line.renew()
                await line.use(work)

    def _letter(self, message: Message) -> _Letter:
        if not isinstance(message.channel, EmailChannel):
            raise self._never("unsupported_channel", "this provider sends email alone")
        try:
            mail = compose(message, message.channel, sender=self._sender, date=self._now())
            receiver = mail_address(message.channel.to)
            content = mail.as_bytes()
        except (ValueError, MessageError):
            raise self._never(
                "invalid_header", "the address or the subject can't stand in an email"
            ) from None
        return _Letter(
            sender=self._sender.addr_spec,
            receiver=receiver.addr_spec,
            content=content,
            needs_smtputf8=needs_smtputf8(self._sender, receiver),
        )

    def _never(self, error_code: str, detail: str) -> PermanentDeliveryError:
        return PermanentDeliveryError(detail, provider=self.name, error_code=error_code)

    def _failure(self, error: Exception, stage: _Stage, message: Message | None) -> DeliveryError:
        match error:
            case SMTPNotSupported():
                return self._never("smtputf8_unsupported", "the server takes no addresses beyond ASCII")
            case SMTPResponseException(code=status) if 400 <= status < 600:
                refused = PermanentDeliveryError if _is_final(error, stage) else TransientDeliveryError
                reply = excerpt(error.message, message) if message else ""
                detail = f"the server answered {status}: {reply}".removesuffix(": ")
                return refused(detail, provider=self.name, error_code=f"smtp_{status}")
            case _:
                lost = AmbiguousDeliveryError if stage is _Stage.CONTENT else TransientDeliveryError
                error_code, detail = _lost(error, stage)
                return lost(detail, provider=self.name, error_code=error_code)


async def _hand_over(client: SMTP, letter: _Letter, progress: _Progress) -> None:
    progress.stage = _Stage.ENVELOPE
    if letter.needs_smtputf8 and not client.supports_extension("smtputf8"):
        raise SMTPNotSupported("SMTPUTF8")
    options, encoding = (["SMTPUTF8"], "utf-8") if letter.needs_smtputf8 else ([], "ascii")
    await client.mail(letter.sender, options=options, encoding=encoding)
    await client.rcpt(letter.receiver, encoding=encoding)
    progress.stage = _Stage.CONTENT
    # Without a limit of its own: giving up here is the one costly way to fail, so it gets what time is left.
    await client.data(letter.content, timeout=None)


def _is_gone(error: SMTPException) -> bool:
    """Tell whether the server had hung up, or was about to, before it took anything."""
    if isinstance(error, SMTPResponseException):
        return error.code == _CLOSING
    return isinstance(error, SMTPServerDisconnected | SMTPReadTimeoutError)


def _is_final(error: SMTPResponseException, stage: _Stage) -> bool:
    """Tell whether a refusal is about this message and for good."""
    if error.code < 500 or error.code in _OUR_SETTINGS or stage is _Stage.CONNECTING:
        return False
    return error.code == _TOO_LARGE or not isinstance(error, SMTPSenderRefused)


def _lost(error: Exception, stage: _Stage) -> tuple[str, str]:
    match error.__cause__ or error:
        case ssl.SSLError():
            return "tls_failed", "no trusted TLS connection could be made"
        case TimeoutError():
            return "timeout", f"no answer in time, {stage.value}"
        case OSError() if stage is _Stage.CONNECTING:
            return "connect_failed", "no connection could be made"
        case OSError():
            return "connection_lost", f"the connection was lost, {stage.value}"
        case _:
            # What aiosmtplib itself found missing: STARTTLS, AUTH or a method both sides know.
            return (
                "server_unfit",
                "the server lacks what the URL asks for (STARTTLS, AUTH), or speaks no SMTP",
            )
