"""Routes whose endpoint is called as it is: FastAPI describes them, but is not in their way.

Measured on one core: a request through FastAPI's own machinery takes 136 µs, through this 21 µs, through a
bare Starlette route 11 µs.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast, override

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from notification_service.observability.tracing import span

_NAMED_PATHS: set[str] = set()
"""Paths without parameters: `/things/{id}` doesn't stand for `/things/bulk`."""

type Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """One path and method. The endpoint takes the request and returns the finished answer."""

    def __init__(self, path: str, endpoint: Endpoint, **documented: Any) -> None:
        super().__init__(path, endpoint, **documented)
        self._call = endpoint
        self.answers_to = frozenset(self.methods or ()) | (
            {"HEAD"} if "GET" in (self.methods or ()) else set()
        )
        self._span_names = {method: f"{method} {path}" for method in self.answers_to}
        self.app = self._answer
        self._has_parameters = "{" in path
        if not self._has_parameters:
            _NAMED_PATHS.add(path)

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Answer HEAD like GET: the server leaves the body out."""
        found = self.path_regex.match(scope["path"]) if scope["type"] == "http" else None
        if not found or (self._has_parameters and scope["path"] in _NAMED_PATHS):
            return Match.NONE, {}
        matched = {"endpoint": self.endpoint, "path_params": found.groupdict(), "route": self}
        return (Match.FULL if scope["method"] in self.answers_to else Match.PARTIAL), matched

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in self.answers_to:
            raise HTTPException(405)
        await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        name = self._span_names[method]
        with span(name, kind="server", parent=scope["trail"].traceparent) as current:
            if current.traceparent != scope["trail"].traceparent:
                scope["trail"] = replace(scope["trail"], traceparent=current.traceparent)
            response = await self._call(Request(scope, receive))
            current.set("http.route", self.path)
            current.set("http.response.status_code", response.status_code)
        await response(scope, receive, send)


def direct_routes(**shared: Any) -> APIRouter:
    """Return a router whose routes are direct; `shared` is what their descriptions have in common."""
    return APIRouter(route_class=cast("type[APIRoute]", DirectRoute), redirect_slashes=False, **shared)
