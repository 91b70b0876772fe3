"""Connections: how each database is opened, how time is read off it, and what its failures mean to us."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, event, func, literal, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from notification_service.adapters.stores.sql.tables import UtcDateTime
from notification_service.domain.errors import StoreRefusesError, StoreUnavailableError

BUSY_TIMEOUT = timedelta(seconds=10)
CONNECT_TIMEOUT = timedelta(seconds=5)
STATEMENT_TIMEOUT = timedelta(seconds=8)
"""For waiting for a connection and for all that is done with it; giving up takes up to 2 seconds more."""
# SQLSTATE classes: connection, read-only, deadlock or serialisation, resources, lock, operator
READ_ONLY = "25006"
OUTAGES = ("08", READ_ONLY, "40", "53", "55P03", "57")
# wrong user or password, no such database: people mend it while we wait
REFUSED = ("28", "3D000")
KEEP_STATUS_EVENTS = {"ns.status_events": "on"}
"""The setting of a connection that the trigger of status events looks at."""
ONE_THAT_LISTENS = 1
"""A connection that hears of due work is not there for anything else."""


class Database:
    """The way to one database, and its clock.

    `statement()` gives a connection on which each statement is a transaction of its own, `transaction()` one
    transaction. Both raise `StoreUnavailableError` when the database is out of reach, or not open yet.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        statement_timeout: timedelta | None = STATEMENT_TIMEOUT,
        is_open: bool = True,
        status_events: bool = False,
    ) -> None:
        """Take a SQLAlchemy URL with an async driver. Nothing is connected yet.

        One that is not open has to be opened before anything else is asked of it. With `status_events` what
        becomes of notifications is kept for other systems, on PostgreSQL.
        """
        self.is_postgres = make_url(url).get_backend_name() == "postgresql"
        connections = pool_size + ONE_THAT_LISTENS
        self.engine = (
            _postgres(url, connections, KEEP_STATUS_EVENTS if status_events else {})
            if self.is_postgres
            else _sqlite(url, connections)
        )
        # SQLite waits for locks only, which has a bound of its own; and a thread can't be interrupted.
        bound = statement_timeout if self.is_postgres else None
        self._patience = bound.total_seconds() if bound else None
        # SQLite has one writer: a pool of one connection makes this process's writers take turns.
        self._writer = self.engine if self.is_postgres else _sqlite_writer(url)
        self._statements = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._offset = timedelta()
        self._is_open = is_open

    async def open(self) -> None:
        """Let statements through from now on; raises `StoreUnavailableError` when it is out of reach."""
        with translated():
            async with self._patient(), self._connected() as connection:
                await self._look(connection)
        self._is_open = True  # not before its time is known

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self._writer.dispose()

    def now(self) -> datetime:
        """The database's time as last measured, without asking it; never ahead of it.

        PostgreSQL has a clock of its own: the local monotonic time since the last reading is added to what it
        told then. SQLite's clock is this machine's. Raises `StoreUnavailableError` before it is open: nobody
        has asked yet.
        """
        self._require_open()
        return _monotonic() + self._offset if self.is_postgres else datetime.now(UTC)

    def sql_now(self) -> ColumnElement[datetime]:
        """The database's own now, inside a statement."""
        return func.now() if self.is_postgres else literal(self.now(), UtcDateTime())

    def measured(self, told: datetime) -> None:
        """Take note of the time that PostgreSQL has just told: its answer arrives later, never earlier."""
        self._offset = told - _monotonic()

    async def check(self, *, must_write: bool = False) -> str:
        """Return the product and version; take note of its time.

        With `must_write` a database that only reads, as a standby does, counts as out of reach.
        """
        async with self.statement() as connection:
            version = await self._look(connection)
            if must_write and self.is_postgres and await _only_reads(connection):
                raise StoreUnavailableError(
                    "the database only reads for now; NS_DATABASE_URL must lead to the primary"
                )
            return version

    async def _look(self, connection: AsyncConnection) -> str:
        if self.is_postgres:
            query = "SELECT clock_timestamp(), 'PostgreSQL ' || current_setting('server_version')"
        else:
            query = "SELECT NULL, 'SQLite ' || sqlite_version()"
        told, version = (await connection.execute(text(query))).one()
        if told:
            self.measured(told)
        return str(version)

    @asynccontextmanager
    async def statement(self) -> AsyncGenerator[AsyncConnection]:
        """A connection on which each statement is a transaction of its own."""
        self._require_open()
        with translated():
            async with self._patient(), self._connected() as connection:
                yield connection

    @asynccontextmanager
    async def listener(self) -> AsyncGenerator[Any]:
        """The driver's own connection, for what only PostgreSQL's driver can do (LISTEN)."""
        self._require_open()
        with translated():
            async with self._connected() as connection:
                raw = await connection.get_raw_connection()
                try:
                    yield raw.driver_connection
                finally:
                    await connection.invalidate()  # nobody else may get a connection that listens

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction, committed when the block ends without an error."""
        self._require_open()
        with translated():
            async with self._patient(), self._writer.begin() as connection:
                yield connection

    def _connected(self) -> AsyncConnection:
        return (self._statements if self.is_postgres else self.engine).connect()

    def _patient(self) -> asyncio.Timeout:
        return asyncio.timeout(self._patience)

    def _require_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailableError("the database was not reached yet, or its tables are being made")


class translated:  # noqa: N801 - reads as a statement: with translated()
    """Makes an outage a `StoreUnavailableError`; a fault of the data stays what it is."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Raise the domain's word for an outage."""
        if error is not None and is_outage(error):
            raise (
                StoreRefusesError if _sql_state(error).startswith(REFUSED) else StoreUnavailableError
            ) from error


def is_outage(error: BaseException) -> bool:
    """Whether another try, later and unchanged, may succeed."""
    if isinstance(error, DBAPIError):
        if state := _sql_state(error):
            return state.startswith((*OUTAGES, *REFUSED))
        return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError)


def _sql_state(error: BaseException) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


async def _only_reads(connection: AsyncConnection) -> bool:
    return bool((await connection.execute(text("SHOW transaction_read_only"))).scalar_one() == "on")


def _monotonic() -> datetime:
    return datetime.fromtimestamp(time.monotonic(), UTC)


def _postgres(url: str, pool_size: int, settings: dict[str, str]) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT.total_seconds(),
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT.total_seconds(),
            "server_settings": {"application_name": "notification-service", "jit": "off"} | settings,
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "handle_error", _leave_standby)
    return engine


def _refuse_closed(connection: Any, *_: object) -> None:
    """Have the pool begin anew when the server has hung up on it; costs no question to the server."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def _leave_standby(failure: Any) -> None:
    """After a fail-over old connections may lead to what only reads now; new ones find the primary."""
    if str(getattr(failure.original_exception, "sqlstate", "")) == READ_ONLY:
        failure.is_disconnect = True


def _sqlite(url: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT.total_seconds()},
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    return engine


def _sqlite_writer(url: str) -> AsyncEngine:
    engine = _sqlite(url, pool_size=1)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _configure_sqlite(connection: Any, _: object) -> None:
    # With no isolation level the driver opens no transactions of its own; ours take the write lock up front
    # (BEGIN IMMEDIATE), so that none fails half-way because another writer came first.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
