"""Everything that is kept in the database, and the database itself."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from notification_service.adapters.stores.sql import migrate as migrations
from notification_service.adapters.stores.sql.archive import SqlArchive
from notification_service.adapters.stores.sql.dead_letters import SqlDeadLetters
from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.mailbox import SqlMailbox
from notification_service.adapters.stores.sql.outbox import SqlOutbox
from notification_service.adapters.stores.sql.people import SqlSessions, SqlUsers
from notification_service.adapters.stores.sql.postgres import PostgresStore
from notification_service.adapters.stores.sql.sqlite import SqliteStore
from notification_service.adapters.stores.sql.status_events import SqlStatusEvents
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.domain.errors import NotificationServiceError, StoreUnavailableError
from notification_service.ports import (
    DeadLetterStore,
    MailboxStore,
    NotificationArchive,
    NotificationStore,
    Outbox,
    SessionStore,
    UserStore,
    Wakeups,
)
from notification_service.ports.announcing import StatusEvents
from notification_service.settings import Settings

WAIT_FOR_DATABASE = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class NotMigratedError(NotificationServiceError):
    """the database's tables are not those of this version; run: notify migrate"""

    code = "not_migrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """One of each, on one database."""

    database: Database
    replica: Database | None
    notifications: NotificationStore
    outbox: Outbox
    archive: NotificationArchive
    dead_letters: DeadLetterStore
    mailbox: MailboxStore
    users: UserStore
    sessions: SessionStore
    status_events: StatusEvents
    wakeups: Wakeups


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncGenerator[Stores]:
    """Yield the stores without waiting for the database, which can be used once it is prepared."""
    main = Database(
        settings.async_database_url,
        pool_size=settings.database_pool_size,
        is_open=False,
        status_events=settings.status_events is not None,
    )
    async with _opened(main) as database, _replica(settings) as replica:
        wakeups = SqlWakeups(database)
        try:
            yield Stores(
                database=database,
                replica=replica,
                notifications=PostgresStore(database) if database.is_postgres else SqliteStore(database),
                outbox=SqlOutbox(database),
                archive=SqlArchive(database, replica=replica),
                dead_letters=SqlDeadLetters(database),
                mailbox=SqlMailbox(database),
                users=SqlUsers(database),
                sessions=SqlSessions(database),
                status_events=SqlStatusEvents(database),
                wakeups=wakeups,
            )
        finally:
            await wakeups.aclose()


async def prepare(settings: Settings, database: Database) -> None:
    """Wait for a database that is out of reach, see to its tables, and open it.

    In development they are made or updated; elsewhere `NotMigratedError` says what to run.
    """
    told = ""
    while True:
        try:
            await _see_to_tables(settings)
            await database.open()
        except StoreUnavailableError as error:
            if (reason := str(error)) != told:
                remedy = "start it, or correct NS_DATABASE_URL"
                log.warning("waiting_for_database", reason=reason, remedy=remedy)
                told = reason
            await asyncio.sleep(WAIT_FOR_DATABASE.total_seconds())
        else:
            return


async def migrate(settings: Settings) -> tuple[str | None, str | None]:
    """Bring the database's tables up to date; return the revisions before and after."""
    return await migrations.upgrade(settings.async_database_url)


async def _see_to_tables(settings: Settings) -> None:
    async with _opened(Database(settings.async_database_url, pool_size=1)) as probe:
        await probe.check()
        if settings.is_development:
            await migrate(settings)
        elif not migrations.is_usable(await migrations.current_revision(probe)):
            raise NotMigratedError


@asynccontextmanager
async def _opened(database: Database) -> AsyncGenerator[Database]:
    try:
        yield database
    finally:
        await database.aclose()


@asynccontextmanager
async def _replica(settings: Settings) -> AsyncGenerator[Database | None]:
    if not settings.read_database_url:
        yield None
        return
    replica = Database(settings.async_read_database_url, pool_size=settings.database_pool_size)
    async with _opened(replica):
        yield replica
