"""An HTTP server for tests that does exactly what it is told, down to the byte."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

type Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def answering(status: int, *, headers: str = "", body: bytes = b"") -> Behaviour:
    """Answer each request; `headers` are whole lines."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)

    return behave


def saying(raw: bytes) -> Behaviour:
    """Say something that need not be HTTP, then hang up."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    return behave


async def refusing_with_the_address(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answer 503 with where the request went and to whom."""
    user = json.loads(request.body)["data"]["user_id"]
    body = f"no {request.target} at {request.headers['host']} for {user}"
    await answering(503, body=body.encode())(request, writer)


async def refusing_with_the_body(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answer 404 with the message."""
    await answering(404, body=json.loads(request.body)["data"]["body"].encode())(request, writer)


async def cutting(_: Request, writer: asyncio.StreamWriter) -> None:
    """Hang up instead of an answer."""
    writer.close()


async def stalling(_: Request, writer: asyncio.StreamWriter) -> None:
    """Keep the connection and say nothing."""


@dataclass
class HttpPeer:
    """What a listening peer saw, and what it does next."""

    port: int
    behave: Behaviour
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    deserted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no connection is open."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/4711"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        self.deserted.clear()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                request = await _request(reader)
                self.requests.append(request)
                await self.behave(request, writer)
        writer.close()
        self.writers.discard(writer)
        if not self.writers:
            self.deserted.set()

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()


@asynccontextmanager
async def http_peer(
    behave: Behaviour | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[HttpPeer]:
    """Listen until the block ends."""
    peer = HttpPeer(port=port, behave=behave or answering(200))
    server = await asyncio.start_server(peer.serve, host, port, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)
