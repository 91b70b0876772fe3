"""What an unauthenticated connection may cost: the size of a request's head and its time to arrive."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, override
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

LARGEST_HEAD_BYTES = 32 * 1024
ARRIVAL_SECONDS = 60.0
"""A request must have arrived in full by then."""
DETAILS = {
    "head_too_large": f"the request's head is larger than {LARGEST_HEAD_BYTES // 1024} KB",
    "malformed_request": "this is no HTTP/1.1 request",
    "request_timeout": "the request did not arrive in time",
}

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
        self._requests: list[RequestResponseCycle] = []
        super().connection_made(transport)
        self._await_arrival()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._desert(self._unanswered())  # uvicorn tells the last one only
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
            # answers this request, after which the connection is closed
            self.app = _refusal(431, "Request Header Fields Too Large", "head_too_large")
        super().on_headers_complete()
        self._requests = [*self._unanswered(), self.cycle]

    @override
    def on_message_complete(self) -> None:
        self._arrived, self._head_bytes = True, 0
        super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", "malformed_request")

    def _refuse(self, status: int, title: str, code: str) -> None:
        """Say why and hang up, but not in the place of an answer that an earlier request still gets."""
        if self.transport.is_closing():
            return
        owed = self._unanswered()
        if not owed:
            self._say(status, title, code)
        elif not owed[-1].more_body:
            owed[
                -1
            ].keep_alive = False  # what came behind it is no request; the answers leave, then we hang up
        elif len(owed) > 1:
            self.pipeline[0] = (owed[-1], _refusal(status, title, code))
        else:
            self._desert(owed)  # its own body is what is wrong
            self._say(status, title, code)

    def _unanswered(self) -> list[RequestResponseCycle]:
        """Return the requests that still get an answer; a client may send several in a row."""
        self._requests = [each for each in self._requests if not each.response_complete]
        return self._requests

    @staticmethod
    def _desert(requests: Iterable[RequestResponseCycle]) -> None:
        """Tell those who work on requests that nobody waits for the answer."""
        for each in requests:
            each.disconnected = True
            each.message_event.set()

    def _say(self, status: int, title: str, code: str) -> None:
        headers, body = _problem(status, title, code)
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(f"HTTP/1.1 {status} {title}\r\n".encode() + b"".join(lines) + b"\r\n" + body)
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


def _refusal(status: int, title: str, code: str) -> Any:
    """Return an ASGI application that answers a request with this, whatever it says."""

    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers, body = _problem(status, title, code)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return refuse


def _problem(status: int, title: str, code: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    request_id = uuid4().hex
    described = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": DETAILS[code],
        "code": code,
        "request_id": request_id,
    }
    body = json.dumps(described).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        (b"x-correlation-id", request_id.encode()),
    ]
    return headers, body
