"""What ties a request to its logs, its notification and the calls that follow from it."""

import re
from uuid import uuid4

from starlette.requests import Request
from starlette.types import Scope

from notification_service.domain.notification import Trail
from notification_service.observability.tracing import valid_traceparent

_VISIBLE = re.compile(rb"[!-~]{1,128}")
_WANTED = frozenset({b"x-request-id", b"x-correlation-id", b"traceparent"})


def identify(scope: Scope) -> Trail:
    """Give the request its trail: the caller's ids where they are usable, else a new one.

    The correlation defaults to the request. A repeated header is unusable: nobody could say which is meant.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _WANTED:
            found[name] = b"" if name in found else value
    request_id = _usable(found.get(b"x-request-id")) or uuid4().hex
    trail = Trail(
        request_id=request_id,
        correlation_id=_usable(found.get(b"x-correlation-id")) or request_id,
        traceparent=valid_traceparent(found.get(b"traceparent", b"").decode("latin-1")),
    )
    scope["trail"] = trail
    return trail


def trail_of(request: Request) -> Trail:
    """Return the request's trail."""
    trail: Trail = request.scope["trail"]
    return trail


def _usable(value: bytes | None) -> str | None:
    return value.decode("ascii") if value and _VISIBLE.fullmatch(value) else None
