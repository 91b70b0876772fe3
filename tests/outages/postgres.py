"""A PostgreSQL of the test's own, which may be frozen, killed and started again with what it had."""

import shutil
import signal
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from tests.services import Kept, free_port, new_folder, run
from tests.services.postgres import Cluster, new_cluster

SAFE = ("fsync=off", "full_page_writes=off", "synchronous_commit=on", "max_connections=100")
"""Killing the server is no power failure of the machine, so what it wrote the system keeps without fsync."""
START_SECONDS = 30


@dataclass
class OwnPostgres:
    """One cluster, on a port of its own."""

    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    _cluster: Cluster = field(default_factory=lambda: new_cluster(new_folder("own-postgres")))
    _kept: Kept | None = None

    @property
    def url(self) -> str:
        """The administrator's database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers; again, while its last life lingers."""
        command = self._cluster.command(self.port, (*SAFE, *self.options))
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._kept is None or self._kept.keeper.poll() is not None:
                self._leave()
                self._kept = Kept.start(
                    command, folder=new_folder("postgres"), stop_with=signal.SIGINT, user=self._cluster.user
                )
            if time.monotonic() > end:
                raise TimeoutError(self._kept.output())
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and all that serve its connections, as a power failure would; what it wrote stays."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._leave()

    def freeze(self) -> None:
        """Have it hang: connections stand, nothing is answered."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self._cluster.folder, ignore_errors=True)

    def program(self, name: str) -> Path:
        """Another of PostgreSQL's programs, of the same version."""
        return Path(self._cluster.command(self.port, ())[0]).resolve().with_name(name)

    def database(self, port: int | None = None) -> str:
        """Make an empty database; return its URL, by way of `port` where a proxy stands."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        parts = urlsplit(self.url)._replace(path=f"/{name}", netloc=f"postgres@127.0.0.1:{port or self.port}")
        return urlunsplit(parts)

    def directly(self, url: str) -> str:
        """The same database without the proxy."""
        return urlunsplit(urlsplit(url)._replace(netloc=f"postgres@127.0.0.1:{self.port}"))

    def execute(self, *statements: str) -> None:
        """Run statements in the administrator's database."""
        run(_execute(self.url, statements))

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        return True

    def _family(self) -> list[psutil.Process]:
        with suppress(OSError, psutil.NoSuchProcess):
            number = (self._cluster.folder / "data" / "postmaster.pid").read_text().split()[0]
            server = psutil.Process(int(number))
            return [server, *server.children(recursive=True)]
        return []

    def _leave(self) -> None:
        if self._kept:
            self._kept.stop()
        self._kept = None


async def _execute(url: str, statements: Iterable[str]) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=5)
