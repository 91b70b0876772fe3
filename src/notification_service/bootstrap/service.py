"""Everything an entry point may use, put together."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from uuid_utils.compat import uuid7

from notification_service.adapters.limiters.fail_open import FailOpen
from notification_service.adapters.limiters.memory import MemoryLimiter
from notification_service.adapters.passwords.argon2 import Argon2Passwords
from notification_service.adapters.tokens.jwt import JwtTokens
from notification_service.application.accept import Accept
from notification_service.application.announce import Announce
from notification_service.application.batcher import Batcher
from notification_service.application.deliver import Deliver, Pace, Route
from notification_service.application.health import Health, Look
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
from notification_service.bootstrap.stores import Stores, open_stores, prepare
from notification_service.domain.channels import CHANNEL_TYPES, ChannelType
from notification_service.domain.mailbox import MailboxMessage
from notification_service.domain.notification import NotificationId, Status
from notification_service.observability.metrics import Metrics
from notification_service.ports import (
    Broker,
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
    _stores: Stores

    async def prepare(self) -> None:
        """Wait for a database that is out of reach, and see to its tables.

        In development they are made or updated; elsewhere `NotMigratedError` says what to run.
        """
        await prepare(self.settings, self._stores.database)
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


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncGenerator[Service]:
    """Open the stores and providers, yield the use cases, and close everything in reverse order.

    Waits for nothing: what is out of reach is in the answer of `health`, and the database can be used from
    the end of `prepare` on.
    """
    async with AsyncExitStack() as stack:
        parts = await _open_parts(stack, settings)
        accept = await _open_accept(stack, parts)
        stores, sweep = parts.stores, _sweep(parts)
        yield Service(
            settings=settings,
            store=stores.notifications,
            archive=stores.archive,
            dead_letters=stores.dead_letters,
            mailbox=stores.mailbox,
            sessions=stores.sessions,
            limiter=parts.limiter,
            providers=parts.providers,
            tokens=open_tokens(settings),
            accept=accept,
            intervene=Intervene(
                archive=stores.archive, dead_letters=stores.dead_letters, broker=parts.broker
            ),
            people=People(
                users=stores.users, sessions=stores.sessions, hasher=Argon2Passwords(), patience=Patience()
            ),
            worker=_worker(parts, accept, sweep),
            sweep=sweep,
            health=_health(parts),
            metrics=parts.metrics,
            prepared=asyncio.Event(),
            _stores=stores,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What use cases are made of."""

    settings: Settings
    stores: Stores
    limiter: Limiter
    broker: Broker
    routes: Mapping[ChannelType, Route]
    metrics: Metrics

    @property
    def providers(self) -> Sequence[Provider]:
        return _providers(self.routes)

    @property
    def has_remote_broker(self) -> bool:
        return self.broker.accepts_as is Status.PENDING

    @property
    def trust(self) -> timedelta:
        return timedelta(seconds=self.settings.queued_timeout_seconds)


async def _open_parts(stack: AsyncExitStack, settings: Settings) -> _Parts:
    stores = await stack.enter_async_context(open_stores(settings))
    limiter = await stack.enter_async_context(_limiter(settings))
    kept = await stack.enter_async_context(_mailbox_batcher(stores.mailbox))
    routes = routes_of(settings, stores.notifications, kept)
    for provider in _providers(routes):
        await stack.enter_async_context(provider)
    broker = broker_of(settings, stores.wakeups, frozenset(routes))
    return _Parts(
        settings=settings,
        stores=stores,
        limiter=limiter,
        broker=await stack.enter_async_context(broker),
        routes=routes,
        metrics=Metrics(CHANNEL_TYPES),
    )


def _providers(routes: Mapping[ChannelType, Route]) -> Sequence[Provider]:
    return list({id(route.provider): route.provider for route in routes.values()}.values())


async def _open_accept(stack: AsyncExitStack, parts: _Parts) -> Accept:
    publisher = Publisher(broker=parts.broker, outbox=parts.stores.outbox, trust=parts.trust)
    accept = Accept(
        store=parts.stores.notifications,
        limiter=parts.limiter,
        publisher=await stack.enter_async_context(publisher),
        metrics=parts.metrics,
        new_id=lambda: NotificationId(uuid7()),
        channels=frozenset(parts.routes),
        keep_answers=timedelta(seconds=parts.settings.idempotency_ttl_seconds),
    )
    return await stack.enter_async_context(accept)


def _sweep(parts: _Parts) -> Sweep:
    return Sweep(
        store=parts.stores.notifications,
        broker=parts.broker,
        policies={channel: policy_of(parts.settings, channel) for channel in CHANNEL_TYPES},
        interval=timedelta(seconds=parts.settings.sweep_interval_seconds),
        metrics=parts.metrics,
    )


def _worker(parts: _Parts, accept: Accept, sweep: Sweep) -> Worker:
    settings, stores, broker, metrics = parts.settings, parts.stores, parts.broker, parts.metrics
    deliver = Deliver(
        store=stores.notifications,
        broker=broker,
        routes=parts.routes,
        pace=Pace(
            lease=timedelta(seconds=settings.lease_seconds),
            send_timeout=timedelta(seconds=settings.send_timeout_seconds),
        ),
        intake=Intake(accept=accept, dead_letters=stores.dead_letters, broker=broker, metrics=metrics),
        metrics=metrics,
        random=random.random,
    )
    relay = Relay(outbox=stores.outbox, broker=broker, trust=parts.trust, metrics=metrics)
    return Worker(
        deliver=deliver,
        relay=relay if parts.has_remote_broker else None,
        sweep=sweep,
        announce=_announce(parts),
    )


def _announce(parts: _Parts) -> Announce | None:
    if not (parts.settings.status_events and isinstance(parts.broker, Announcer)):
        return None
    return Announce(events=parts.stores.status_events, announcer=parts.broker, metrics=parts.metrics)


def _health(parts: _Parts) -> Health:
    limited: dict[str, Look] = {"rate_limiter": parts.limiter.check}
    needed: dict[str, Look] = {"database": parts.stores.notifications.check}
    helpful: dict[str, Look] = {f"provider_{each.name}": each.check for each in parts.providers}
    (helpful if parts.settings.rate_limit_fail_open else needed).update(limited)
    if parts.stores.replica:
        helpful["read_database"] = parts.stores.replica.check
    if parts.has_remote_broker:
        helpful[f"broker_{parts.settings.broker}"] = parts.broker.check
    return Health(needed=needed, helpful=helpful)


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
