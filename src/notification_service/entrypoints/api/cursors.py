"""Cursors: where a list goes on, sealed together with the filters it belongs to."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict
from typing import Any
from uuid import UUID

from starlette.requests import Request

from notification_service.domain.errors import InvalidInputError
from notification_service.domain.filters import DeadLetterFilter, NotificationFilter
from notification_service.domain.mailbox import MailboxFilter

SEAL_BYTES = 16

type Filter = NotificationFilter | DeadLetterFilter | MailboxFilter


class Cursors:
    """Writes and reads cursors; one that was changed or belongs to other filters is refused."""

    def __init__(self, secret: str) -> None:
        """Seal with a key made from `secret`, the same in every process that shares it."""
        self._key = hmac.digest(secret.encode(), b"notification-service cursor", hashlib.sha256)

    def write(self, last: UUID, where: Filter) -> str:
        """Return a cursor that goes on after `last` in the list of what matches `where`."""
        return urlsafe_b64encode(last.bytes + self._seal(last.bytes, where)).rstrip(b"=").decode()

    def read(self, cursor: str | None, where: Filter) -> UUID | None:
        """Return after which row to go on; raises `InvalidInputError` unless the cursor fits `where`."""
        if cursor is None:
            return None
        sealed = _decoded(cursor)
        last, seal = sealed[:16], sealed[16:]
        if not hmac.compare_digest(seal, self._seal(last, where)):
            raise InvalidInputError({"cursor": "does not belong to this list and these filters"})
        return UUID(bytes=last)

    def _seal(self, last: bytes, where: Filter) -> bytes:
        described = json.dumps(asdict(where), default=_plain, sort_keys=True)
        return hmac.digest(self._key, last + described.encode(), hashlib.sha256)[:SEAL_BYTES]


def cursors_of(request: Request) -> Cursors:
    """Return the cursors of this application."""
    cursors: Cursors = request.app.state.cursors
    return cursors


def _decoded(cursor: str) -> bytes:
    try:
        return urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError:
        return b""


def _plain(value: Any) -> str | list[str]:
    return sorted(value) if isinstance(value, frozenset) else str(value)
