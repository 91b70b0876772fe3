"""One application serves the whole folder; each test brings users of its own."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from notification_service.domain.people import Role
from notification_service.settings import Settings
from tests.api.rig import Api, an_api


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests in the loop that their application lives in."""
    here = Path(__file__).parent
    for item in items:
        is_async = inspect.iscoroutinefunction(getattr(item, "function", None))
        if is_async and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("api"), rate_limit_per_hour=5)
    async with an_api(settings) as api:
        yield api


@pytest.fixture
def user() -> str:
    """Give a user whom no other test knows."""
    return f"user-{uuid4().hex[:12]}"


@pytest.fixture
def caller(api: Api, user: str) -> httpx.AsyncClient:
    """Give a client that acts as the user."""
    return api.caller(user)


@pytest.fixture
def admin(api: Api) -> httpx.AsyncClient:
    """Give a client that acts as an administrator."""
    return api.caller("root", Role.ADMIN)


@pytest.fixture
def stranger(api: Api) -> httpx.AsyncClient:
    """Give a client without a token."""
    return api.client()
