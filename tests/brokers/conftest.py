import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.databases import postgres_tables, postgres_url, sqlite_folder, sqlite_template, sqlite_url

__all__ = ["postgres_tables", "postgres_url", "sqlite_folder", "sqlite_template", "sqlite_url"]

HERE = Path(__file__).parent


def uses_aiokafka(path: Path) -> bool:
    return path.parent == HERE and path.name.startswith("test_kafka")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A connection of aiokafka that is cancelled between its first two answers is closed by nobody."""
    for item in items:
        if uses_aiokafka(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(autouse=True)
def collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have what such a test leaves behind collected before the next one begins."""
    yield
    if uses_aiokafka(request.path):
        gc.collect()
