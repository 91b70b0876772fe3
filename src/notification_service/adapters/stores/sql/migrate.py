"""Brings a database's tables up to date; safe when many processes do so at once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_service.adapters.stores.sql.engine import Database

LOCK_NUMBER = 7_153_029_411


@asynccontextmanager
async def migrating(url: str) -> AsyncGenerator[AsyncConnection]:
    """A transaction in which nobody else migrates the same database."""
    # Building an index on a large table takes as long as it takes.
    database = Database(url, pool_size=1, statement_timeout=None)
    try:
        async with database.transaction() as connection:
            if database.is_postgres:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
            yield connection
    finally:
        await database.aclose()


async def upgrade(url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the tables to `revision`; return the revisions before and after."""
    async with migrating(url) as connection:
        before = await connection.run_sync(_revision)
        if not is_usable(before):
            await connection.run_sync(_run, revision)
        return before, await connection.run_sync(_revision)


async def downgrade(url: str, revision: str) -> None:
    """Take the tables back to `revision`, losing what newer ones held."""
    async with migrating(url) as connection:
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), revision))


async def current_revision(database: Database) -> str | None:
    """The revision the tables are at; None for an empty database."""
    async with database.statement() as connection:
        return await connection.run_sync(_revision)


def is_usable(revision: str | None) -> bool:
    """Whether this version of the service can work with tables at `revision`.

    One it doesn't know was made by a newer version, whose migrations keep the version before them working: so
    an update needs no stop.
    """
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return revision == newest_revision() or (revision is not None and revision not in known)


def newest_revision() -> str | None:
    """The newest revision this version of the service knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _run(connection: Connection, revision: str) -> None:
    command.upgrade(_config(connection), revision)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
