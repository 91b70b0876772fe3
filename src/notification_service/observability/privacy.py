"""The safety net under the log: what may hold a body, an address or a secret doesn't get out."""

import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from structlog.typing import EventDict, WrappedLogger

PRIVATE = frozenset(
    {
        "address",
        "api_key",
        "auth",
        "authorization",
        "bcc",
        "body",
        "cc",
        "channel_data",
        "content",
        "cookie",
        "cookies",
        "credentials",
        "data",
        "device_token",
        "dsn",
        "email",
        "email_address",
        "headers",
        "html",
        "key",
        "message",
        "message_body",
        "metadata",
        "name",
        "params",
        "password",
        "payload",
        "personal",
        "phone",
        "phone_number",
        "push_token",
        "query",
        "recipient",
        "recipients",
        "secret",
        "set_cookie",
        "sub",
        "subject",
        "text",
        "title",
        "to",
        "token",
        "url",
        "user",
        "user_id",
        "username",
        "variables",
    }
)
PRIVATE_ENDINGS = ("_address", "_body", "_cookie", "_email", "_key", "_password", "_secret", "_token", "_url")

PACKAGE = __name__.partition(".")[0]
NOTHING_INSIDE = frozenset({str, int, float, bool, type(None)})
MOST_FRAMES = 40
MOST_PARTS = 10
LONGEST_CHAIN = 20


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop what is private by its name, at any depth, and print objects by their type alone."""
    return {key: _safe(value) for key, value in event.items() if not _is_private(str(key))}


def without_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Turn `exc_info` into where it happened and what kind it was.

    The message is kept only where it can't hold a value of somebody's: in our own exceptions, whose messages
    are ours, and in the system's errors. A database driver's message, for one, holds the row.
    """
    exc_info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    error = _exception(exc_info)
    if error is not None:
        event["exception"] = "\n".join(_told(error, set()))
    return event


@lru_cache(maxsize=1024)
def _is_private(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name in PRIVATE or name.endswith(PRIVATE_ENDINGS)


def _safe(value: Any) -> Any:
    """Return what can be printed; an object's own text could hold anything."""
    if type(value) in NOTHING_INSIDE:
        return value
    match value:
        case Mapping():
            return {str(key): _safe(part) for key, part in value.items() if not _is_private(str(key))}
        case list() | tuple() | set() | frozenset():
            return [_safe(part) for part in value]
        case _:
            return _plain(value)


def _plain(value: Any) -> str | bool | int | float | None:
    match value:
        case Enum():
            return _plain(value.value)
        case None | str() | bool() | int() | float():
            return value
        case date():
            return value.isoformat()
        case UUID() | Path():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case _:
            return f"<{type(value).__name__}>"


def _exception(exc_info: Any) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case _ if exc_info:
            return sys.exception()
        case _:
            return None


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Tell the cause first, as Python does, then the exception, then the parts of a group."""
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen and len(seen) < LONGEST_CHAIN:
        yield from _told(cause, seen)
        yield "which led to"
    yield from _frames(error)
    yield _headline(error)
    for part in error.exceptions[:MOST_PARTS] if isinstance(error, BaseExceptionGroup) else ():
        if id(part) not in seen and len(seen) < LONGEST_CHAIN:
            yield "one of them:"
            yield from _told(part, seen)


def _frames(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]:
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"


def _headline(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__.partition(".")[0] == PACKAGE:
        return f"{kind.__name__}: {error}"
    if kind.__module__ == "builtins" and isinstance(error, OSError) and error.strerror:
        return f"{kind.__name__}: {error.strerror}"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
