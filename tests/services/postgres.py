"""PostgreSQL for tests."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.services import Kept, OutOfReachError, Service, docker, free_port, new_folder, program, run

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server and the database of a user who may create others."""

    url: str
    where: str

    def execute(self, statement: str) -> None:
        """Run one statement in the administrator's database."""
        run(_ask(self.url, statement))

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Create a database of its own name, copied from `template` (a name or an URL), and drop it after."""
        name = f"test_{uuid.uuid4().hex}"
        template = urlsplit(template).path.removeprefix("/") if "://" in template else template
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _ask(url: str, statement: str) -> str:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


def _version(url: str) -> str:
    return run(_ask(url, "SHOW server_version")).split()[0]


def _answers(url: str) -> bool:
    try:
        _version(url)
    except (OSError, asyncpg.PostgresError):
        return False
    return True


def from_environment() -> PostgresServer:
    """Use the server that NS_TEST_POSTGRES_URL names; it is an error when that one does not answer."""
    url = os.environ.get("NS_TEST_POSTGRES_URL")
    if not url:
        raise OutOfReachError
    return PostgresServer(url, f"NS_TEST_POSTGRES_URL, {_version(url)}")


@dataclass(frozen=True)
class Cluster:
    """An empty cluster in a folder, and how it is run."""

    folder: Path
    user: str | None
    _postgres: Path

    def command(self, port: int, options: Iterable[str]) -> list[str]:
        """Give the command that runs it at `port` with `options` (name=value)."""
        listen = ("listen_addresses=127.0.0.1", "unix_socket_directories=")
        chosen = [part for option in (*listen, *options) for part in ("-c", option)]
        return [str(self._postgres), "-D", str(self.folder / "data"), "-p", str(port), *chosen]


def new_cluster(folder: Path) -> Cluster:
    """Make an empty cluster in `folder`, owned by a user whom PostgreSQL accepts."""
    folders = (found for pattern in FOLDERS for found in sorted(Path("/").glob(pattern[1:]), reverse=True))
    initdb = program("initdb", folders=tuple(folders))
    user = _unprivileged_user() if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    made = subprocess.run(
        [
            initdb,
            "--pgdata=data",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        check=False,
        capture_output=True,
        cwd=folder,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    if made.returncode:
        raise OutOfReachError(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
    return Cluster(folder, user, initdb.with_name("postgres"))


def local_cluster() -> PostgresServer:
    """Start a cluster of its own, in a temporary folder, on a port of its own."""
    folder = new_folder("postgres")
    try:
        cluster = new_cluster(folder)
    except OutOfReachError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    port = free_port()
    command = cluster.command(port, FAST)
    kept = Kept.start(command, folder=folder, stop_with=signal.SIGINT, user=cluster.user)  # fast shutdown
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    kept.wait_until(lambda: _answers(url))
    return PostgresServer(url, f"local cluster {_version(url)}")


def _unprivileged_user() -> str:
    """Name a user whom PostgreSQL accepts: it refuses to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise OutOfReachError("PostgreSQL refuses to run as root and there is no other user")


def in_docker() -> PostgresServer:
    """Start a container."""
    options = ("--env", "POSTGRES_HOST_AUTH_METHOD=trust", "--tmpfs", "/var/lib/postgresql")
    arguments = tuple(part for option in FAST for part in ("-c", option))
    kept, port = docker("postgres:17-alpine", 5432, options=options, arguments=arguments)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    kept.wait_until(lambda: _answers(url), seconds=60)
    return PostgresServer(url, f"Docker {_version(url)}")


SERVICE = Service(
    name="postgres",
    fixture="postgres_server",
    how_to_get="Install PostgreSQL (Debian: apt install postgresql), or Docker, or set NS_TEST_POSTGRES_URL.",
    ways=(from_environment, local_cluster, in_docker),
)


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """Give a running server: `.url` is the administrator's database, `.database()` makes another."""
    return SERVICE.need()


@pytest.fixture
def postgres_database(postgres_server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a new, empty database, dropped after the test."""
    SERVICE.used_by.add(request.node.nodeid)
    with postgres_server.database() as url:
        yield url
