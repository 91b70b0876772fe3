"""Wakes waiting workers at once, in this process and in others; what is lost, the poll finds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from notification_service.adapters.stores.sql.engine import Database
from notification_service.domain.channels import CHANNEL_TYPES, ChannelType
from notification_service.domain.errors import StoreUnavailableError

POSTGRES_CHANNEL = "notification_service_due"
SQLITE_LOOK = timedelta(milliseconds=25)
POSTGRES_LOOK = timedelta(milliseconds=100)
"""How late a listener on PostgreSQL notices that it is to stop."""
RECONNECT = timedelta(seconds=1)

log = structlog.get_logger(__name__)

_NOTIFY = text("SELECT pg_notify(:name, :payload)")


class SqlWakeups:
    """`Wakeups`: an event for each channel, set by this process's own rings and by what it hears of others'.

    In PostgreSQL others are heard by LISTEN/NOTIFY, in SQLite by the file's data version, which changes with
    every commit of another connection.
    """

    def __init__(self, database: Database) -> None:
        """Work on an open database; `listening` must run for other processes to be heard."""
        self._database = database
        self._bells = {channel: asyncio.Event() for channel in CHANNEL_TYPES}
        self._unsent: set[ChannelType] = set()
        self._sender: asyncio.Task[None] | None = None

    async def ring(self, channels: Iterable[ChannelType]) -> None:
        """See `Wakeups.ring`: the others are told in the background, many rings at once."""
        rung = set(channels)
        self._set(rung)
        if rung and self._database.is_postgres:
            self._unsent |= rung
            if self._sender is None:
                self._sender = asyncio.create_task(self._notify())

    async def wait(self, channel: ChannelType, *, at_most: timedelta) -> None:
        """See `Wakeups.wait`."""
        bell = self._bells[channel]
        await _set_within(bell, at_most)
        bell.clear()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Hear the rings of other processes until the block ends."""
        # Told to stop, not cancelled: a driver cancelled while it connects leaves the connection open.
        stopping = asyncio.Event()
        listener = asyncio.create_task(self._listen(stopping))
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait([listener])

    async def aclose(self) -> None:
        """Let the last rings out."""
        if self._sender:
            await asyncio.wait([self._sender])

    def _set(self, channels: Iterable[ChannelType]) -> None:
        for channel in channels:
            self._bells[channel].set()

    async def _notify(self) -> None:
        # Between the last look at the set and clearing the sender nothing awaits: no ring stays behind.
        try:
            while self._unsent:
                payload = ",".join(sorted(self._unsent))
                self._unsent.clear()
                async with self._database.statement() as connection:
                    await connection.execute(_NOTIFY, {"name": POSTGRES_CHANNEL, "payload": payload})
        except (StoreUnavailableError, SQLAlchemyError):
            self._unsent.clear()
        finally:
            self._sender = None

    async def _listen(self, stopping: asyncio.Event) -> None:
        hear = self._hear_postgres if self._database.is_postgres else self._hear_sqlite
        while not stopping.is_set():
            try:
                await hear(stopping)
            except Exception as error:  # who gave up would never hear again; the poll goes on
                log.warning("listening_failed", error=type(error).__name__)
            await _set_within(stopping, RECONNECT)

    async def _hear_postgres(self, stopping: asyncio.Event) -> None:
        async with self._database.listener() as connection:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(POSTGRES_CHANNEL, self._heard)
            self._set(CHANNEL_TYPES)  # whatever rang while nobody listened
            while not (lost.is_set() or stopping.is_set()):
                await _set_within(lost, POSTGRES_LOOK)

    def _heard(self, _connection: Any, _pid: int, _name: str, payload: str) -> None:
        self._set(channel for channel in CHANNEL_TYPES if channel in payload.split(","))

    async def _hear_sqlite(self, stopping: asyncio.Event) -> None:
        known = None
        async with self._database.statement() as connection:
            while not stopping.is_set():
                version = (await connection.exec_driver_sql("PRAGMA data_version")).scalar_one()
                if version != known:
                    self._set(CHANNEL_TYPES)
                    known = version
                await _set_within(stopping, SQLITE_LOOK)


async def _set_within(event: asyncio.Event, at_most: timedelta) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most.total_seconds()):
            await event.wait()
