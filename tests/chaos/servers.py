"""Real servers of our own, on ports and in folders of their own, that may be killed, frozen and wiped."""

import asyncio
import os
import pwd
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import override

import asyncpg

from tests.chaos.warden import Warden, signal_family
from tests.services import free_port, program
from tests.services.postgres import new_cluster

START_SECONDS = 60


class Server(ABC):
    """One server that may be killed, frozen and wiped."""

    name: str

    def __init__(self, folder: Path) -> None:
        """Keep everything below `folder`; `port` leads to it directly, `proxy_port` through its proxy."""
        self.folder = folder / self.name
        self.folder.mkdir()
        self.port, self.proxy_port = free_port(), free_port()

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """What the service has to know to reach it through its proxy."""

    @abstractmethod
    async def start(self) -> None:
        """Return when it is ready to work."""

    @abstractmethod
    async def kill(self) -> None:
        """End it as a power failure would; what it wrote stays. One that doesn't run is left alone."""

    @abstractmethod
    async def wipe(self) -> None:
        """Kill it and take everything it had."""

    @abstractmethod
    def freeze(self) -> None:
        """Let it stand still."""

    @abstractmethod
    def thaw(self) -> None:
        """Let it go on."""

    async def stop(self) -> None:
        """Ask it to end at once, its connections with it."""
        await self.kill()

    async def end(self) -> None:
        """Leave nothing behind."""
        await self.kill()


class OwnServer(Server):
    """A server that is one command."""

    def __init__(self, folder: Path, warden: Warden) -> None:
        """It ends with the harness, whatever becomes of that."""
        super().__init__(folder)
        self.user: str | None = None
        self._warden = warden
        self._running: subprocess.Popen[bytes] | None = None

    @abstractmethod
    async def answers(self) -> bool:
        """Whether it is ready to work."""

    @abstractmethod
    def command(self) -> list[str]:
        """What runs it in the foreground."""

    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}

    @override
    async def start(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._running is None or self._running.poll() is not None:
                self._launch()  # again, if need be: the last life of a server may linger for a moment
            if await self.answers():
                return
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{self.name} does not start: {self.last_words()}")

    @override
    async def kill(self) -> None:
        if self._running:
            signal_family(self._running.pid, signal.SIGKILL)
            await self._gone()

    @override
    async def stop(self) -> None:
        if self._running:
            self._running.send_signal(signal.SIGINT)
            await self._gone()

    @override
    async def wipe(self) -> None:
        await self.kill()

    @override
    def freeze(self) -> None:
        assert self._running
        signal_family(self._running.pid, signal.SIGSTOP)

    @override
    def thaw(self) -> None:
        assert self._running
        signal_family(self._running.pid, signal.SIGCONT)

    def last_words(self) -> str:
        """The end of its log."""
        with suppress(OSError):
            return " / ".join((self.folder / "output").read_text(errors="replace").splitlines()[-5:])
        return "(it wrote nothing)"

    def _launch(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._running = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
            )
        self._warden.watch(self._running.pid)

    async def _gone(self) -> None:
        assert self._running
        await asyncio.to_thread(self._running.wait, 30)
        self._warden.forget(self._running.pid)
        self._running = None


class Postgres(OwnServer):
    """PostgreSQL. Killing it is no power failure of the machine: what it wrote, the system keeps.

    So it needs no fsync, but commits must be written before they are answered.
    """

    name = "postgres"
    OPTIONS = ("fsync=off", "full_page_writes=off", "synchronous_commit=on", "max_connections=200")

    def __init__(self, folder: Path, warden: Warden) -> None:
        """Make an empty cluster."""
        super().__init__(folder, warden)
        self._cluster = new_cluster(self.folder)
        self.user = self._cluster.user

    @property
    def url(self) -> str:
        return self._url(self.port)

    @override
    def settings(self) -> dict[str, str]:
        return {"NS_DATABASE_URL": self._url(self.proxy_port)}

    @override
    def command(self) -> list[str]:
        return self._cluster.command(self.port, self.OPTIONS)

    @override
    async def answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
            await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        return True

    @staticmethod
    def _url(port: int) -> str:
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"


class Redis(OwnServer):
    """Redis that keeps nothing: a kill is a wipe."""

    name = "redis"

    @override
    def settings(self) -> dict[str, str]:
        return {"NS_REDIS_URL": f"redis://127.0.0.1:{self.proxy_port}/0"}

    @override
    def command(self) -> list[str]:
        nothing = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        return [str(program("redis-server")), "--bind", "127.0.0.1", "--port", str(self.port), *nothing]

    @override
    async def answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        return answer.startswith(b"+PONG")
