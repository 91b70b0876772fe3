"""Servers that the tests of this folder may kill and freeze."""

from collections.abc import Iterator

import pytest

from tests.outages.postgres import OwnPostgres
from tests.services import OutOfReachError, required
from tests.services.postgres import SERVICE, PostgresServer


@pytest.fixture(scope="session")
def cluster(postgres_server: PostgresServer) -> Iterator[OwnPostgres]:
    """One cluster for all tests; each takes a database of its own and leaves the server running."""
    del postgres_server
    try:
        own = OwnPostgres()
    except OutOfReachError as error:
        give_up = pytest.fail if SERVICE.name in required() else pytest.skip
        give_up(f"{error}, and only one that is the test's own may be killed")
    own.start()
    yield own
    own.end()


@pytest.fixture
def own_postgres(cluster: OwnPostgres) -> Iterator[OwnPostgres]:
    """Give the cluster, running; the test may kill and freeze it."""
    cluster.start()
    yield cluster
    cluster.thaw()
    cluster.start()
