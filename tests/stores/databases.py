"""A migrated, empty database for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from notification_service.adapters.stores.sql.migrate import upgrade
from notification_service.adapters.stores.sql.tables import metadata
from tests.services import run
from tests.services.postgres import PostgresServer
from tests.stores.house import async_url

IN_MEMORY = Path("/dev/shm")
"""Where there is such a folder, SQLite's syncing costs nothing; the tests are about what is written."""


@pytest.fixture(scope="session")
def sqlite_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def sqlite_template(sqlite_folder: Path) -> Path:
    path = sqlite_folder / "template.db"
    run(upgrade(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> Iterator[str]:
    """A copy of a file that was migrated once."""
    with tempfile.TemporaryDirectory(dir=sqlite_template.parent) as folder:
        yield f"sqlite:///{shutil.copy(sqlite_template, Path(folder) / 'notifications.db')}"


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.database() as url:
        run(upgrade(async_url(url)))
        yield url


@pytest.fixture
async def postgres_url(postgres_tables: str) -> str:
    """One database for all tests, emptied before each: making one takes longer than most tests."""
    connection = await asyncpg.connect(postgres_tables)
    await connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
    await connection.close()
    return postgres_tables
