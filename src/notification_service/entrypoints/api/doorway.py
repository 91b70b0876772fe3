"""The outermost room: every request gets its ids here, every answer its headers, and both are counted."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from notification_service.domain.notification import Trail
from notification_service.entrypoints.api.errors import error_response
from notification_service.entrypoints.api.identity import identify
from notification_service.entrypoints.api.problems import UnexpectedError

DEFAULT_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
}
"""What every answer carries unless it says something else itself."""
CLIENT_GONE = 499
UNKNOWN_PATH = "unknown"

log = structlog.get_logger()


class Doorway:
    """Pure ASGI middleware around everything else; nothing but a broken connection gets past it."""

    def __init__(self, app: ASGIApp, *, templates: Mapping[Any, str]) -> None:
        """`templates` names the path of each endpoint as metrics may show it."""
        self._app = app
        self._templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, its path without a trailing slash."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        scope["path"] = scope["path"].removesuffix("/") or "/"
        answer = _Answer(send, identify(scope))
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._count(scope, answer.status, perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        trail = answer.trail
        with bound_contextvars(request_id=trail.request_id, correlation_id=trail.correlation_id):
            try:
                await self._app(scope, receive, answer.send)
            except ClientDisconnect:
                answer.status = CLIENT_GONE
            except Exception:
                log.exception("request_failed")
                if answer.status:  # too late for another answer: the server breaks the connection off
                    raise
                response = error_response(Request(scope), UnexpectedError())
                await response(scope, receive, answer.send)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._templates.get(scope.get("endpoint"), UNKNOWN_PATH)
        scope["app"].state.service.metrics.http_answered(scope["method"], route, status, seconds)


class _Answer:
    """What leaves, with the headers that all answers share."""

    def __init__(self, send: Send, trail: Trail) -> None:
        self.trail = trail
        self.status = 0
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._complete(message["headers"])
        await self._send(message)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        said = {name for name, _ in headers}
        return [
            *headers,
            *((name, value) for name, value in DEFAULT_HEADERS.items() if name not in said),
            (b"x-request-id", self.trail.request_id.encode()),
            (b"x-correlation-id", self.trail.correlation_id.encode()),
        ]
