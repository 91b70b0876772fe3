from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.application.workshop import Workshop, a_workshop
from tests.stores.databases import sqlite_folder, sqlite_template, sqlite_url

__all__ = ["sqlite_folder", "sqlite_template", "sqlite_url"]


@pytest.fixture
async def workshop(sqlite_url: str) -> AsyncIterator[Workshop]:
    async with a_workshop(sqlite_url) as workshop:
        yield workshop


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Writing tracebacks for people takes longer than the tests."""
    with structlog.testing.capture_logs():
        yield
