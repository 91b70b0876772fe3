"""Everything an entry point may use, put together."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from uuid_utils.compat import uuid7

from notification_service.adapters.limiters.fail_open import FailOpen
from notification_service.adapters.limiters.memory import MemoryLimiter
from notification_service.adapters.passwords.argon2 import Argon2Passwords
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
from notification_service.adapters.tokens.jwt import JwtTokens
from notification_service.application.accept import Accept
from notification_service.application.announce import Announce
from notification_service.application.batcher import Batcher
from notification_service.application.deliver import Deliver, Pace
from notification_service.application.health import Health
from notification_service.application.intake import Intake
from notification_service.application.intervene import Intervene
from notification_service.application.patience import Patience
from notification_service.application.people import People
from notification_service.application.publish import Publisher
from notification_service.application.relay import Relay
from notification_service.application.sweep import Sweep
from notification_service.application.worker import Worker
from notification_service.bootstrap.brokers import broker_of
from notification_service.bootstrap.providers import policy_of, routes_of
from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.errors import NotificationServiceError, StoreUnavailableError
from notification_service.domain.mailbox import MailboxMessage
from notification_service.domain.notification import NotificationId, Status
from notification_service.observability.metrics import Metrics
from notification_service.ports import (
    DeadLetterStore,
    Limiter,
    MailboxStore,
    NotificationArchive,
    NotificationStore,
    Provider,
    SessionStore,
    Tokens,
)
from notification_service.ports.announcing import Announcer
from notification_service.settings import Settings

WAIT_FOR_DATABASE = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class NotMigratedError(NotificationServiceError):
    """the database's tables are not those of this version; run: notify migrate"""

    code = "not_migrated"


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
    providers: Sequence[Provider]
    tokens: Tokens
    accept: Accept
    intervene: Intervene
    people: People
    worker: Worker
    sweep: Sweep
    health: Health
    metrics: Metrics
    prepared: asyncio.Event
    """Set once the database is reached and its tables fit; until then everything that needs it fails."""
    _database: Database

    async def prepare(self) -> None:
        """Wait for a database that is out of reach, and see to its tables.

        In development they are made or updated; elsewhere `NotMigratedError` says what to run.
        """
        await _prepare(self.settings, self._database)
        self.prepared.set()

    @property
    def uses_mailbox(self) -> bool:
        """Whether some channel delivers into the mailbox."""
        return any(provider.name == "mailbox" for provider in self.providers)


def open_tokens(settings: Settings) -> Tokens:
    """The tokens of these settings; needs no database."""
    return JwtTokens(
        secret=settings.jwt_secret.get_secret_value(),
        algorithm=settings.jwt_algorithm,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )


async def migrate(settings: Settings) -> tuple[str | None, str | None]:
    """Bring the database's tables up to date; return the revisions before and after."""
    return await migrations.upgrade(settings.async_database_url)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncGenerator[Service]:
    """Open the stores and providers, yield the use cases, and close everything in reverse order.

    Waits for nothing: what is out of reach is in the answer of `health`, and the database can be used from
    the end of `prepare` on.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            _opened(
                Database(
                    settings.async_database_url,
                    pool_size=settings.database_pool_size,
                    is_open=False,
                    status_events=settings.status_events is not None,
                )
            )
        )
        wakeups = SqlWakeups(database)
        stack.push_async_callback(wakeups.aclose)
        store = PostgresStore(database) if database.is_postgres else SqliteStore(database)
        replica = await stack.enter_async_context(_replica(settings))
        archive = SqlArchive(database, replica=replica)
        dead_letters, mailbox = SqlDeadLetters(database), SqlMailbox(database)
        sessions = SqlSessions(database)
        metrics = Metrics(CHANNEL_TYPES)
        outbox, trust = SqlOutbox(database), timedelta(seconds=settings.queued_timeout_seconds)
        limiter = await stack.enter_async_context(_limiter(settings))
        limited = {"rate_limiter": limiter.check}
        kept = await stack.enter_async_context(_mailbox_batcher(mailbox))
        routes = routes_of(settings, store, kept)
        providers = list({id(route.provider): route.provider for route in routes.values()}.values())
        for provider in providers:
            await stack.enter_async_context(provider)
        broker = await stack.enter_async_context(broker_of(settings, wakeups, frozenset(routes)))
        sweep = Sweep(
            store=store,
            broker=broker,
            policies={channel: policy_of(settings, channel) for channel in CHANNEL_TYPES},
            interval=timedelta(seconds=settings.sweep_interval_seconds),
            metrics=metrics,
        )
        publisher = await stack.enter_async_context(Publisher(broker=broker, outbox=outbox, trust=trust))
        accept = await stack.enter_async_context(
            Accept(
                store=store,
                limiter=limiter,
                publisher=publisher,
                metrics=metrics,
                new_id=lambda: NotificationId(uuid7()),
                channels=frozenset(routes),
                keep_answers=timedelta(seconds=settings.idempotency_ttl_seconds),
            )
        )
        deliver = Deliver(
            store=store,
            broker=broker,
            routes=routes,
            pace=_pace(settings),
            intake=Intake(accept=accept, dead_letters=dead_letters, broker=broker, metrics=metrics),
            metrics=metrics,
            random=random.random,
        )
        relay = Relay(outbox=outbox, broker=broker, trust=trust, metrics=metrics)
        announce = (
            Announce(events=SqlStatusEvents(database), announcer=broker, metrics=metrics)
            if settings.status_events and isinstance(broker, Announcer)
            else None
        )
        is_remote = broker.accepts_as is Status.PENDING
        yield Service(
            settings=settings,
            store=store,
            archive=archive,
            dead_letters=dead_letters,
            mailbox=mailbox,
            sessions=sessions,
            limiter=limiter,
            providers=providers,
            tokens=open_tokens(settings),
            accept=accept,
            intervene=Intervene(archive=archive, dead_letters=dead_letters, broker=broker),
            people=People(
                users=SqlUsers(database), sessions=sessions, hasher=Argon2Passwords(), patience=Patience()
            ),
            worker=Worker(
                deliver=deliver, relay=relay if is_remote else None, sweep=sweep, announce=announce
            ),
            sweep=sweep,
            health=Health(
                needed={"database": store.check} | ({} if settings.rate_limit_fail_open else limited),
                helpful={f"provider_{each.name}": each.check for each in providers}
                | (limited if settings.rate_limit_fail_open else {})
                | ({"read_database": replica.check} if replica else {})
                | ({f"broker_{settings.broker}": broker.check} if is_remote else {}),
            ),
            metrics=metrics,
            prepared=asyncio.Event(),
            _database=database,
        )


@asynccontextmanager
async def _opened(database: Database) -> AsyncGenerator[Database]:
    try:
        yield database
    finally:
        await database.aclose()


async def _prepare(settings: Settings, database: Database) -> None:
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


async def _see_to_tables(settings: Settings) -> None:
    async with _opened(Database(settings.async_database_url, pool_size=1)) as probe:
        await probe.check()
        if settings.is_development:
            await migrate(settings)
        elif not migrations.is_usable(await migrations.current_revision(probe)):
            raise NotMigratedError


@asynccontextmanager
async def _replica(settings: Settings) -> AsyncGenerator[Database | None]:
    if not settings.read_database_url:
        yield None
        return
    async with _opened(
        Database(settings.async_read_database_url, pool_size=settings.database_pool_size)
    ) as replica:
        yield replica


@asynccontextmanager
async def _limiter(settings: Settings) -> AsyncGenerator[Limiter]:
    limit = settings.rate_limit_per_hour
    if settings.redis_url is None:
        yield MemoryLimiter(limit)
        return
    from notification_service.adapters.limiters.redis import RedisLimiter  # noqa: PLC0415 - takes 300 ms

    async with RedisLimiter(settings.redis_url.get_secret_value(), limit) as limiter:
        yield FailOpen(limiter, limit) if settings.rate_limit_fail_open else limiter


def _mailbox_batcher(mailbox: MailboxStore) -> Batcher[MailboxMessage, None]:
    async def put(messages: Sequence[MailboxMessage]) -> Sequence[None]:
        await mailbox.put_many(messages)
        return [None] * len(messages)

    return Batcher(put, largest=500, capacity=10_000, patience=timedelta(seconds=10))


def _pace(settings: Settings) -> Pace:
    return Pace(
        lease=timedelta(seconds=settings.lease_seconds),
        send_timeout=timedelta(seconds=settings.send_timeout_seconds),
    )
