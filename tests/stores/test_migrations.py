"""Migrations make exactly the tables that the code describes, once, and take them back."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.migrate import (
    current_revision,
    downgrade,
    newest_revision,
    upgrade,
)
from notification_service.adapters.stores.sql.tables import metadata
from tests.services import run
from tests.services.postgres import PostgresServer
from tests.stores.house import async_url
from tests.stores.migrating import migrate

ROOT = Path(__file__).parents[2]
BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]

POSTGRES_CATALOG = """
SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type, character_maximum_length,
  is_nullable, column_default, is_identity) FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'options', relname, array_to_string(reloptions, ',') FROM pg_class
  WHERE relnamespace = 'public'::regnamespace
"""
SQLITE_CATALOG = """
SELECT 'column', t.name || '.' || c.name, c.type || ' ' || c."notnull" || ' ' || coalesce(c.dflt_value, '')
  || ' ' || c.pk FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table'
UNION ALL SELECT 'index', name, coalesce(sql, '') FROM sqlite_master WHERE type = 'index'
"""


@pytest.fixture
def empty_databases(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Make empty databases of a kind."""
    with ExitStack() as stack:
        made = 0

        def make(kind: str) -> str:
            nonlocal made
            made += 1
            if kind == "sqlite":
                return f"sqlite+aiosqlite:///{tmp_path / f'{made}.db'}"
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return async_url(stack.enter_context(server.database()))

        yield make


@pytest.fixture
def url(empty_databases: Callable[[str], str], kind: str) -> str:
    return empty_databases(kind)


def look[Found](url: str, at: Callable[[Connection], Found]) -> Found:
    """What a function sees on a connection."""

    async def looking() -> Found:
        database = Database(url, pool_size=1)
        try:
            async with database.transaction() as connection:
                return await connection.run_sync(at)
        finally:
            await database.aclose()

    return run(looking())


def catalog(connection: Connection) -> set[tuple[str, ...]]:
    """All that the database says of its tables, but the table in which Alembic keeps the revision."""
    query = SQLITE_CATALOG if connection.dialect.name == "sqlite" else POSTGRES_CATALOG
    rows = {tuple(" ".join(str(part).split()) for part in row) for row in connection.execute(text(query))}
    return {row for row in rows if "alembic_version" not in row[1] and not row[1].startswith("sqlite_")}


def revision(url: str) -> str | None:
    async def asking() -> str | None:
        database = Database(url, pool_size=1)
        try:
            return await current_revision(database)
        finally:
            await database.aclose()

    return run(asking())


@pytest.mark.parametrize("kind", BOTH)
def test_an_empty_database_is_brought_to_the_newest_revision(url: str) -> None:
    before, after = run(upgrade(url))

    assert (before, after) == (None, newest_revision())
    assert revision(url) == newest_revision()
    tables = {name.split(".")[0] for what, name, _ in look(url, catalog) if what == "column"}
    assert tables == set(metadata.tables)


@pytest.mark.parametrize("kind", BOTH)
def test_a_second_upgrade_changes_nothing(url: str) -> None:
    run(upgrade(url))
    before = look(url, catalog)

    revisions = run(upgrade(url))

    assert revisions == (newest_revision(), newest_revision())
    assert look(url, catalog) == before


@pytest.mark.parametrize("kind", BOTH)
def test_a_downgrade_leaves_nothing_and_can_be_taken_back(url: str) -> None:
    empty = look(url, catalog)
    run(upgrade(url))
    there = look(url, catalog)

    run(downgrade(url, "base"))

    assert look(url, catalog) == empty == set()
    assert revision(url) is None
    run(upgrade(url))
    assert look(url, catalog) == there


@pytest.mark.parametrize("kind", BOTH)
def test_alembic_finds_nothing_to_generate(url: str) -> None:
    run(upgrade(url))

    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert look(url, differences) == []


@pytest.mark.parametrize("kind", BOTH)
def test_migrated_tables_are_those_of_the_code_to_the_last_option(
    url: str, kind: str, empty_databases: Callable[[str], str]
) -> None:
    """Alembic compares neither what partial indexes hold nor what a table is stored with."""
    described = empty_databases(kind)
    look(described, metadata.create_all)

    run(upgrade(url))

    assert look(url, catalog) == look(described, catalog)


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["postgres"])
def test_pages_of_notifications_have_room_for_new_versions(url: str) -> None:
    run(upgrade(url))

    assert ("options", "notifications", "fillfactor=70") in look(url, catalog)


@pytest.mark.parametrize("kind", BOTH)
def test_ten_processes_at_once_migrate_once(url: str) -> None:
    """All of them return; one tells that it began with nothing."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([migrate.__module__])
    told, together = processes.SimpleQueue(), processes.Barrier(10)
    started = [processes.Process(target=migrate, args=(url, together, told)) for _ in range(10)]
    for process in started:
        process.start()
    for process in started:
        process.join(50)

    newest = newest_revision()
    assert [process.exitcode for process in started] == [0] * 10
    revisions = [told.get() for _ in started]
    assert revisions.count((None, newest)) == 1
    assert revisions.count((newest, newest)) == 9


@pytest.mark.parametrize("kind", BOTH)
def test_the_alembic_command_migrates_the_database_that_the_settings_name(url: str) -> None:
    plain = url.replace("+aiosqlite", "").replace("+asyncpg", "")

    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=os.environ | {"NS_DATABASE_URL": plain},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr if done.returncode else "") == (0, "")
    assert revision(url) == newest_revision()
