"""What an unauthenticated connection may cost: the size of a request's head and its time to arrive."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD_BYTES = 32 * 1024
ARRIVAL_SECONDS = 60.0
"""A request must have arrived in full by then."""

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a limit to a request's head and to the time it takes to arrive.

    The parser keeps an unfinished head in memory whatever its size, and waits for the rest for ever.
    """

    _head_bytes = 0
    _in_head = True
    _arrived = True
    _deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_arrival()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(431, "Request Header Fields Too Large", "head_too_large")
        elif self._arrived:
            self._disarm()
        elif self._deadline is None:
            self._await_arrival()

    @override
    def on_message_begin(self) -> None:
        self._in_head, self._arrived = True, False
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self._in_head, self._head_bytes = False, 0
        if size > LARGEST_HEAD_BYTES:
            self.app = _head_too_large  # answers this request, after which the connection is closed
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._arrived, self._head_bytes = True, 0
        super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", "malformed_request")

    def _refuse(self, status: int, title: str, code: str) -> None:
        if self.transport.is_closing():
            return
        body = _problem(status, title, code)
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
        self.transport.write(
            f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
        )
        self.transport.close()

    def _await_arrival(self) -> None:
        self._deadline = self.loop.call_later(ARRIVAL_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        if self._in_head and not self._arrived:
            self._refuse(408, "Request Timeout", "request_timeout")
        else:  # the application is told that the client has gone
            self.transport.close()

    def _disarm(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None


async def _head_too_large(_scope: Scope, _receive: Receive, send: Send) -> None:
    body = _problem(431, "Request Header Fields Too Large", "head_too_large")
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 431, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(status: int, title: str, code: str) -> bytes:
    return json.dumps({"type": "about:blank", "title": title, "status": status, "code": code}).encode()
