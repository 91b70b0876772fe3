"""What accepting one request leaves behind: its notifications, and the answer kept under its key."""

from dataclasses import dataclass

from notification_service.domain.notification import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """One caller's name for one request; `fingerprint` tells whether a repeat is the same request."""

    caller: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The answer a successful request got, byte for byte."""

    fingerprint: bytes
    status_code: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The notifications of one request and, when it has a key, the answer to keep beside them."""

    notifications: tuple[Notification, ...]
    key: IdempotencyKey | None = None
    answer: StoredAnswer | None = None
