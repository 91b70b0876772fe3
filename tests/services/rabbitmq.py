"""RabbitMQ for tests."""

import asyncio
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError

from tests.services import (
    Kept,
    OutOfReachError,
    Service,
    docker,
    free_port,
    new_folder,
    program,
    required,
    run,
)

FOLDERS = (
    "/usr/lib/rabbitmq/bin",  # Debian's program on PATH is a wrapper that insists on its own user
    "/usr/lib/rabbitmq/lib/*/sbin",
    "/opt/homebrew/sbin",
    "/usr/local/sbin",
    "/opt/rabbitmq/sbin",
)
QUIET = "[{rabbit, [{vm_memory_high_watermark, 0.2}, {disk_free_limit, 50000000}]}].\n"


@dataclass(frozen=True)
class RabbitmqServer:
    """A RabbitMQ server that is to be left running; its user may declare what it likes."""

    url: str
    where: str


@dataclass
class OwnRabbitmq:
    """A RabbitMQ server that a test may freeze, kill, wipe and start again, on the same port."""

    server: Path
    epmd: Path
    port: int = field(default_factory=free_port)
    _names: Kept | None = None
    _node: Kept | None = None

    @property
    def url(self) -> str:
        """Its address, with the password that everybody knows."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, with what it had, and wait until it answers."""
        if self._names is None:
            self._prepare()
        command = ["env", *self._environment(), str(self.server)]
        self._node = Kept.start(command, folder=new_folder("rabbitmq"), stop_with=signal.SIGKILL)
        self._node.wait_until(lambda: _answers(self.url), seconds=60)

    def kill(self) -> None:
        """End it as a power failure would."""
        os.kill(self._process, signal.SIGKILL)
        if self._node:
            self._node.stop()

    def wipe(self) -> None:
        """Kill it and take everything it had."""
        self.kill()
        shutil.rmtree(self._folder / "mnesia")

    def freeze(self) -> None:
        """Have it hang: connections stand, nothing is answered."""
        os.kill(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._process, signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove what it had."""
        for kept in (self._node, self._names):
            if kept:
                kept.stop()

    @property
    def _process(self) -> int:
        return int((self._folder / "pid").read_text())

    @property
    def _folder(self) -> Path:
        assert self._names
        return self._names.folder

    def _prepare(self) -> None:
        """Run its name service, which would outlive it otherwise, in the folder that holds its data."""
        port = free_port()
        command = [str(self.epmd), "-port", str(port), "-address", "127.0.0.1"]
        self._names = Kept.start(command, folder=new_folder("rabbitmq"), stop_with=signal.SIGKILL)
        (self._folder / "epmd_port").write_text(str(port))
        (self._folder / "dist_port").write_text(str(free_port()))
        (self._folder / "plugins").write_text("[].\n")
        (self._folder / "rabbitmq.config").write_text(QUIET)

    def _environment(self) -> list[str]:
        """Keep it apart from every other server on this machine."""
        folder = self._folder
        settings = {
            "HOME": folder,  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": (folder / "epmd_port").read_text(),
            "RABBITMQ_DIST_PORT": (folder / "dist_port").read_text(),
            "RABBITMQ_NODENAME": f"ns-test-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": folder / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": folder / "none.conf",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server instead of its parent
        }
        return [f"{name}={value}" for name, value in settings.items()]


def an_own_server() -> OwnRabbitmq:
    """Return a server of its own that is not started yet."""
    return OwnRabbitmq(_script(), program("epmd", folders=tuple(Path("/").glob("usr/lib/erlang/bin"))))


def from_environment() -> RabbitmqServer:
    """Use the server that NS_TEST_RABBITMQ_URL names; it is an error when that one does not answer."""
    url = os.environ.get("NS_TEST_RABBITMQ_URL")
    if not url:
        raise OutOfReachError
    return RabbitmqServer(url, f"NS_TEST_RABBITMQ_URL, {_version(url)}")


def local_server() -> RabbitmqServer:
    """Start a server of its own, in a temporary folder, on ports of its own."""
    server = an_own_server()
    server.start()
    return RabbitmqServer(server.url, f"local server {_version(server.url)}")


def in_docker() -> RabbitmqServer:
    """Start a container."""
    kept, port = docker("rabbitmq:4-alpine", 5672)
    url = f"amqp://guest:guest@127.0.0.1:{port}/"
    kept.wait_until(lambda: _answers(url), seconds=90)
    return RabbitmqServer(url, f"Docker {_version(url)}")


def _script() -> Path:
    for pattern in FOLDERS:
        for found in sorted(Path("/").glob(f"{pattern[1:]}/rabbitmq-server"), reverse=True):
            if os.access(found, os.X_OK):
                return found
    return program("rabbitmq-server")


async def _ask(url: str) -> str:
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it complains until the server is there
    connection = await aio_pika.connect(url, timeout=5)
    async with connection:
        assert connection.transport
        return str(connection.transport.connection.server_properties["version"])


def _version(url: str) -> str:
    return run(_ask(url))


def _answers(url: str) -> bool:
    try:
        _version(url)
    except (OSError, TimeoutError, asyncio.CancelledError, AMQPError):
        time.sleep(0.2)
        return False
    return True


SERVICE = Service(
    name="rabbitmq",
    fixture="rabbitmq_server",
    how_to_get="Install RabbitMQ (apt install rabbitmq-server), or Docker, or set NS_TEST_RABBITMQ_URL.",
    ways=(from_environment, local_server, in_docker),
)


@pytest.fixture(scope="session")
def rabbitmq_server() -> RabbitmqServer:
    """Give a running server."""
    return SERVICE.need()


@pytest.fixture(scope="module")
def own_rabbitmq(rabbitmq_server: RabbitmqServer) -> Iterator[OwnRabbitmq]:
    """Give a running server that may be killed, frozen and wiped, but runs at the end of each test."""
    try:
        server = an_own_server()
    except OutOfReachError as error:
        message = f"only a program on this machine can be killed: {error}"
        (pytest.fail if SERVICE.name in required() else pytest.skip)(message)
    server.start()
    yield server
    server.stop()
