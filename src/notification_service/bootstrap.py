"""The one place where adapters meet the core."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from notification_service.application.accept import Accept
from notification_service.application.intervene import Intervene
from notification_service.application.people import People
from notification_service.observability.metrics import Metrics
from notification_service.ports import (
    DeadLetterStore,
    Limiter,
    MailboxStore,
    NotificationArchive,
    NotificationStore,
    SessionStore,
    Tokens,
)
from notification_service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything an entry point may use, opened and owned by `open_service`."""

    settings: Settings
    store: NotificationStore
    archive: NotificationArchive
    dead_letters: DeadLetterStore
    mailbox: MailboxStore
    sessions: SessionStore
    limiter: Limiter
    tokens: Tokens
    accept: Accept
    intervene: Intervene
    people: People
    metrics: Metrics


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Open the stores and connections, yield the use cases, and close everything in reverse order."""
    raise RuntimeError
    yield
