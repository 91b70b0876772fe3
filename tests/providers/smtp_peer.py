"""SMTP servers for tests: a real one (aiosmtpd), and one that follows a script word for word."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, override

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

type AfterContent = Callable[[SMTP, Envelope], Awaitable[str]]


@dataclass(frozen=True)
class Letter:
    """One message as the server took it."""

    sender: str
    receivers: list[str]
    options: list[str]
    content: bytes
    over_tls: bool
    user: str | None

    @property
    def mail(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.SMTP)


@dataclass
class Post:
    """What the real server took, and what it does when it has a whole message."""

    port: int = 0
    after_content: AfterContent | None = None
    letters: list[Letter] = field(default_factory=list)
    connections: int = 0
    open: set[SMTP] = field(default_factory=set)
    deserted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no connection is open."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if self.after_content is not None:
            return await self.after_content(server, envelope)
        assert isinstance(envelope.content, bytes)
        self.letters.append(
            Letter(
                sender=envelope.mail_from or "",
                receivers=envelope.rcpt_tos,
                options=envelope.mail_options,
                content=envelope.content,
                over_tls=transport_of(server).get_extra_info("sslcontext") is not None,
                user=_user(session),
            )
        )
        return "250 taken"

    def hang_up(self) -> None:
        for session in self.open:
            transport_of(session).close()


def _user(session: Session) -> str | None:
    data: Any = session.auth_data  # declared without its None
    return str(data, "utf-8") if data else None


def transport_of(server: SMTP) -> asyncio.Transport:
    assert isinstance(server.transport, asyncio.Transport)
    return server.transport


class _Session(SMTP):
    def __init__(self, post: Post, **options: Any) -> None:
        super().__init__(post, hostname="post.example", loop=asyncio.get_running_loop(), **options)
        self.post = post
        post.connections += 1

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.post.open.add(self)
        self.post.deserted.clear()

    @override
    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.post.open.discard(self)
        if not self.post.open:
            self.post.deserted.set()


def authenticator(username: str, password: str) -> Callable[..., AuthResult]:
    """Let one user in."""

    def authenticate(server: SMTP, session: Session, envelope: Envelope, _: str, data: Any) -> AuthResult:
        expected = LoginPassword(username.encode(), password.encode())
        return AuthResult(success=data == expected, handled=False, auth_data=username.encode())

    return authenticate


@asynccontextmanager
async def post_office(*, implicit_tls: ssl.SSLContext | None = None, **options: Any) -> AsyncGenerator[Post]:
    """Run the real server; `options` are aiosmtpd's."""
    post = Post()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Session(post, **options), "127.0.0.1", 0, ssl=implicit_tls)
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
        post.hang_up()
        await server.wait_closed()


CUT, SILENCE = "CUT", "SILENCE"
_POLITE = {
    "connect": "220 post.example",
    "EHLO": "250 post.example",
    "AUTH": "235 come in",
    "DATA": "354 go on",
    "QUIT": "221 bye",
}


@dataclass
class Script:
    """Answers by the word a line begins with; "connect" is the greeting, "." the end of the content.

    An answer is a line, `CUT` (hang up) or `SILENCE`; of several the last one stays.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    port: int = 0
    heard: list[str] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        word = "connect"
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while (answer := self._answer(word)) != CUT:
                if answer != SILENCE:
                    writer.write(f"{answer}\r\n".encode())
                word = await _next_word(reader, in_content=answer.startswith("354"))
        writer.close()

    def _answer(self, word: str) -> str:
        self.heard.append(word)
        answers = self.answers.get(word) or [_POLITE.get(word, "250 fine")]
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def _next_word(reader: asyncio.StreamReader, *, in_content: bool) -> str:
    if in_content:
        await reader.readuntil(b"\r\n.\r\n")
        return "."
    return (await reader.readuntil(b"\r\n")).decode().split()[0].upper()


@asynccontextmanager
async def scripted(**answers: str | list[str]) -> AsyncGenerator[Script]:
    """Run the script; `content` stands for "."."""
    lists = {word: [said] if isinstance(said, str) else said for word, said in answers.items()}
    script = Script({"." if word == "content" else word: said for word, said in lists.items()})
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()
