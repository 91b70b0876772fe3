"""Apache Kafka for tests: one broker that is its own controller."""

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

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

VERSION = "4.1.0"
CACHE = Path(__file__).parents[2] / ".cache" / "kafka"
POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
LEAN = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "log.cleaner.enable": "false",
    # a broker that was killed may come back once its old session is over
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
}


@dataclass(frozen=True)
class KafkaServer:
    """A broker that is to be left running."""

    bootstrap: str
    where: str


@dataclass
class KafkaFolder:
    """An empty broker in a folder, and how it is run; `wipe` makes it empty again."""

    folder: Path
    port: int
    advertised_port: int | None = None
    """Where clients are told to find it, for instance behind a proxy."""
    options: dict[str, str] = field(default_factory=dict)
    """More properties; they win."""
    guarded_port: int | None = None
    """Where it wants TLS and a user besides, as `options` describe them."""
    _java: Path = field(default_factory=lambda: program("java"))

    def __post_init__(self) -> None:
        """Write its configuration and format its storage."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_properties()
        self._run("kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAA")
        self.data.rename(self._pristine)
        self.wipe()

    @property
    def data(self) -> Path:
        """Everything it keeps."""
        return self.folder / "data"

    @property
    def command(self) -> list[str]:
        """What runs it in the foreground."""
        return [str(self._java), *LEAN, "-cp", f"{jars()}/*", "kafka.Kafka", str(self._properties)]

    def wipe(self) -> None:
        """Take everything from a broker that doesn't run."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self._pristine, self.data)

    @property
    def _pristine(self) -> Path:
        return self.folder / "pristine"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _write_properties(self) -> None:
        controller = free_port()
        guarded = f",SASL_SSL://127.0.0.1:{self.guarded_port}" if self.guarded_port else ""
        addresses = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}{guarded}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.advertised_port or self.port}{guarded}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": str(self.data),
        }
        properties = {**PROPERTIES, **addresses, **self.options}
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [str(self._java), *LEAN, "-cp", f"{jars()}/*", *command, "-c", str(self._properties)],
            check=False,
            capture_output=True,
        )
        if done.returncode:
            raise OutOfReachError(f"Kafka's storage can't be made: {done.stderr.decode(errors='replace')}")


@dataclass
class OwnKafka:
    """A broker that a test may freeze, kill, wipe and start again on the same port."""

    port: int = field(default_factory=free_port)
    options: dict[str, str] = field(default_factory=dict)
    guarded_port: int | None = None
    _files: KafkaFolder = field(init=False)
    _kept: Kept | None = None

    def __post_init__(self) -> None:
        self._files = KafkaFolder(
            new_folder("kafka-data"), self.port, options=self.options, guarded_port=self.guarded_port
        )

    @property
    def bootstrap(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._kept = Kept.start(self._files.command, folder=new_folder("kafka"), stop_with=signal.SIGTERM)
        self._kept.wait_until(lambda: _answers(self.bootstrap), seconds=60)

    def kill(self) -> None:
        """End it at once; what it wrote stays."""
        for process in self._processes():
            process.kill()
        self._ended()

    def wipe(self) -> None:
        """End it at once, and what it wrote is gone."""
        self.kill()
        self._files.wipe()

    def freeze(self) -> None:
        """Have it hang: connections stand, nothing is answered."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._processes():
            process.resume()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        shutil.rmtree(self._files.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        return psutil.Process(self._kept.keeper.pid).children() if self._kept else []

    def _ended(self) -> None:
        if self._kept:
            self._kept.stop()
        self._kept = None


def jars() -> Path:
    """Give the folder with the broker's programs, fetched by Maven the first time."""
    folder = CACHE / VERSION
    if folder.exists():
        return folder
    maven = program("mvn")
    CACHE.mkdir(parents=True, exist_ok=True)
    fetched = CACHE / f"fetching-{uuid.uuid4().hex}"
    fetched.mkdir()
    (fetched / "pom.xml").write_text(POM.format(version=VERSION))
    done = subprocess.run(
        [maven, "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=."],
        cwd=fetched,
        check=False,
        capture_output=True,
    )
    if done.returncode:
        shutil.rmtree(fetched)
        raise OutOfReachError(f"Maven has no Kafka: {done.stdout.decode(errors='replace').strip()[-300:]}")
    with contextlib.suppress(OSError):  # somebody else was faster
        fetched.rename(folder)
    shutil.rmtree(fetched, ignore_errors=True)
    return folder


def from_environment() -> KafkaServer:
    """Use the broker that NS_TEST_KAFKA_BOOTSTRAP names; it is an error when that one does not answer."""
    bootstrap = os.environ.get("NS_TEST_KAFKA_BOOTSTRAP")
    if not bootstrap:
        raise OutOfReachError
    run(_ask(bootstrap))
    return KafkaServer(bootstrap, "NS_TEST_KAFKA_BOOTSTRAP")


def local_server() -> KafkaServer:
    """Start a broker of its own, in a temporary folder, on a port of its own."""
    program("java")
    jars()
    folder, port = new_folder("kafka"), free_port()
    files = KafkaFolder(folder / "kafka", port)
    kept = Kept.start(files.command, folder=folder, stop_with=signal.SIGKILL)
    kept.wait_until(lambda: _answers(f"127.0.0.1:{port}"), seconds=60)
    return KafkaServer(f"127.0.0.1:{port}", f"local broker {VERSION}")


def in_docker() -> KafkaServer:
    """Start a container."""
    port = free_port()
    listeners = {
        **PROPERTIES,
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    variables = [f"KAFKA_{name.upper().replace('.', '_')}={value}" for name, value in listeners.items()]
    options = (part for variable in variables for part in ("--env", variable))
    publish = ("--publish", f"127.0.0.1:{port}:{port}")
    kept, _ = docker(f"apache/kafka:{VERSION}", 9092, options=(*publish, *options))
    kept.wait_until(lambda: _answers(f"127.0.0.1:{port}"), seconds=90)
    return KafkaServer(f"127.0.0.1:{port}", f"Docker {VERSION}")


async def _ask(bootstrap: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await client.start()
        await client.list_consumer_groups()
    finally:
        await client.close()


def _answers(bootstrap: str) -> bool:
    try:
        run(_ask(bootstrap))
    except (OSError, KafkaError, AttributeError):
        return False
    return True


SERVICE = Service(
    name="kafka",
    fixture="kafka_server",
    how_to_get="Install Java 17 and Maven (Debian: apt install default-jre-headless maven), or Docker, "
    "or set NS_TEST_KAFKA_BOOTSTRAP.",
    ways=(from_environment, local_server, in_docker),
)


@pytest.fixture(scope="session")
def kafka_server() -> KafkaServer:
    """Give a running broker; take a topic and a group of your own."""
    return SERVICE.need()


@pytest.fixture
def own_kafka(kafka_server: KafkaServer) -> Iterator[OwnKafka]:
    """Give a running broker that the test may freeze, kill and wipe; it needs Java on this machine."""
    try:
        own = OwnKafka()
    except OutOfReachError as error:
        give_up = pytest.fail if SERVICE.name in required() else pytest.skip
        give_up(f"{error}, and only one that is the test's own may be killed")
    own.start()
    yield own
    own.close()
