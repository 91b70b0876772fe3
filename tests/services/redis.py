"""Redis for tests."""

import contextlib
import os
import random
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis

from tests.services import Kept, OutOfReachError, Service, docker, free_port, new_folder, program, required

PROGRAMS = ("redis-server", "valkey-server")
IN_MEMORY = ("--save", "", "--appendonly", "no")
DATABASES = range(1, 16)
CLAIM = "tests:claimed"


@dataclass(frozen=True)
class RedisServer:
    """A Redis server that is to be left running."""

    url: str
    where: str

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Claim an empty numbered database, also against other test runs, and empty it after."""
        url = next((url for url in self._databases() if _claimed(url)), None)
        if url is None:
            raise RuntimeError(f"all {len(DATABASES)} databases of {self.where} are in use")
        try:
            yield url
        finally:
            with _client(url) as client:
                client.flushdb()

    def _databases(self) -> list[str]:
        parts = urlsplit(self.url)
        numbers = random.sample(DATABASES, len(DATABASES))
        return [urlunsplit(parts._replace(path=f"/{number}")) for number in numbers]


@dataclass
class OwnRedis:
    """A Redis server that a test may freeze, kill and start again, empty, on the same port."""

    server: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    _kept: Kept | None = None
    _process: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._kept = _start(self.server, self.port, *self.options)
        self._kept.wait_until(lambda: _answers(self.url))
        with _client(self.url) as client:
            self._process = int(_information(client)["process_id"])

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        os.kill(self._process, signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        """End it."""
        if self._kept:
            self.thaw()
            self._ended()

    def freeze(self) -> None:
        """Have it hang: connections stand, nothing is answered."""
        os.kill(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._process, signal.SIGCONT)

    def _ended(self) -> None:
        if self._kept:
            self._kept.stop()
        self._kept = None


def from_environment() -> RedisServer:
    """Use the server that NS_TEST_REDIS_URL names; it is an error when that one does not answer."""
    url = os.environ.get("NS_TEST_REDIS_URL")
    if not url:
        raise OutOfReachError
    return RedisServer(url, f"NS_TEST_REDIS_URL, {_version(url)}")


def local_server() -> RedisServer:
    """Start a server of its own, without files, on a port of its own."""
    server, port = program(*PROGRAMS), free_port()
    kept = _start(server, port)
    url = f"redis://127.0.0.1:{port}/0"
    kept.wait_until(lambda: _answers(url))
    return RedisServer(url, f"local server {_version(url)}")


def in_docker() -> RedisServer:
    """Start a container."""
    kept, port = docker("redis:7-alpine", 6379, arguments=("redis-server", *IN_MEMORY))
    url = f"redis://127.0.0.1:{port}/0"
    kept.wait_until(lambda: _answers(url), seconds=60)
    return RedisServer(url, f"Docker {_version(url)}")


def _start(server: Path, port: int, *options: str) -> Kept:
    command = [str(server), "--bind", "127.0.0.1", "--port", str(port), *IN_MEMORY, *options]
    return Kept.start(command, folder=new_folder("redis"), stop_with=signal.SIGTERM)


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=10)


def _information(client: redis.Redis) -> dict[str, Any]:
    information: dict[str, Any] = client.info("server")
    return information


def _version(url: str) -> str:
    with _client(url) as client:
        return str(_information(client)["redis_version"])


def _answers(url: str) -> bool:
    try:
        _version(url)
    except (OSError, redis.RedisError):
        return False
    return True


def _claimed(url: str) -> bool:
    """Take the database unless somebody has it or left something in it."""
    with _client(url) as client:
        if not client.set(CLAIM, uuid.uuid4().hex, nx=True, ex=600):
            return False
        if client.dbsize() == 1:
            return True
        client.delete(CLAIM)
        return False


SERVICE = Service(
    name="redis",
    fixture="redis_server",
    how_to_get="Install Redis (Debian: apt install redis-server), or Docker, or set NS_TEST_REDIS_URL.",
    ways=(from_environment, local_server, in_docker),
)


@pytest.fixture(scope="session")
def redis_server() -> RedisServer:
    """Give a running server: `.database()` claims a part of it."""
    return SERVICE.need()


@pytest.fixture
def redis_database(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of an empty database, emptied again after the test."""
    SERVICE.used_by.add(request.node.nodeid)
    with redis_server.database() as url:
        yield url


@pytest.fixture
def own_redis(redis_server: RedisServer) -> Iterator[OwnRedis]:
    """Give a running server that the test may freeze and kill; it needs the program on this machine."""
    try:
        own = OwnRedis(program(*PROGRAMS))
    except OutOfReachError as error:
        give_up = pytest.fail if SERVICE.name in required() else pytest.skip
        give_up(f"{error}, and only one that is the test's own may be killed")
    own.start()
    yield own
    own.stop()
