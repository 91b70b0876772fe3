"""The Idempotency-Key of a request and the fingerprint that tells its repeats from other requests."""

import hashlib
import json
import re
from typing import Any

from starlette.requests import Request

from notification_service.domain.acceptance import IdempotencyKey
from notification_service.domain.errors import InvalidInputError
from notification_service.domain.people import Principal

_VISIBLE = re.compile(rb"[!-~]{1,255}")


def key_of(request: Request, principal: Principal, document: Any) -> IdempotencyKey | None:
    """Return the caller's key for this request, or None; raises `InvalidInputError` for a bad one."""
    values = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not values:
        return None
    if len(values) > 1 or not _VISIBLE.fullmatch(values[0]):
        raise InvalidInputError({"Idempotency-Key": "must be one value of 1 to 255 visible ASCII characters"})
    return IdempotencyKey(
        caller=principal.subject,
        key=values[0].decode("ascii"),
        fingerprint=fingerprint(request.method, request.scope["path"], document),
    )


def fingerprint(method: str, path: str, document: Any) -> bytes:
    """Return the same bytes for the same request: order of keys and spelling of numbers don't count."""
    meaning = json.dumps(_plain_numbers(document), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{method} {path}\n{meaning}".encode()).digest()


def _plain_numbers(value: Any) -> Any:
    """1 and 1.0 are the same number in JSON; Python writes them differently."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _plain_numbers(each) for key, each in value.items()}
        case list():
            return [_plain_numbers(each) for each in value]
        case _:
            return value
