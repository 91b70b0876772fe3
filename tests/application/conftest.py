from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import structlog

from notification_service.application import deliver as delivering
from tests.application.desk import Desk, a_desk
from tests.application.office import Office, an_office, hurry
from tests.application.workshop import Workshop, a_workshop
from tests.stores.databases import sqlite_folder, sqlite_template, sqlite_url

__all__ = ["sqlite_folder", "sqlite_template", "sqlite_url"]


@pytest.fixture
async def workshop(sqlite_url: str) -> AsyncIterator[Workshop]:
    async with a_workshop(sqlite_url) as workshop:
        yield workshop


@pytest.fixture
async def desk(sqlite_url: str) -> AsyncIterator[Desk]:
    async with a_desk(sqlite_url) as desk:
        yield desk


@pytest.fixture
async def office(sqlite_url: str) -> AsyncIterator[Office]:
    async with an_office(sqlite_url) as office:
        yield office


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Writing tracebacks for people takes longer than the tests."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "AGAIN", timedelta(milliseconds=20))
