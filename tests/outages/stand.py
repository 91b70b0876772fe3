"""Processes of the service, with proxies between them and their servers, and looks at them from outside."""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.proxy import Mode
from tests.e2e.caller import Caller, bearer, calling
from tests.e2e.processes import PROGRAMS, ROOT, ServiceProcess, ordinary_settings
from tests.services import free_port

CALLER_SECONDS = 30.0
"""Longer than anything may take, so that what takes too long is measured and not hidden."""


@dataclass(frozen=True)
class Readiness:
    """One answer of `/health/ready`, and how long it took."""

    code: int
    document: dict[str, Any]
    seconds: float

    @property
    def status(self) -> str:
        """The whole."""
        return str(self.document["status"])

    def missing(self) -> dict[str, str]:
        """What is not up, and why."""
        checks = self.document["checks"].items()
        return {name: check["detail"] for name, check in checks if check["status"] != "up"}


@dataclass(frozen=True)
class Proxied:
    """A port in front of a server."""

    port: int
    _running: Process

    async def turn(self, mode: Mode) -> None:
        """Treat connections like this from now on."""
        assert self._running.stdin
        assert self._running.stdout
        self._running.stdin.write(f"it {mode}\n".encode())
        assert await self._running.stdout.readline() == b"done\n"


@asynccontextmanager
async def a_proxy(target: int, port: int | None = None) -> AsyncIterator[Proxied]:
    """Stand in front of a port, in a process of its own that ends with this one."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.chaos.proxy", f"it:{port}:{target}"]
    running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    assert running.stdin
    assert running.stdout
    assert await running.stdout.readline() == b"ready\n"
    try:
        yield Proxied(port, running)
    finally:
        running.stdin.close()
        await running.wait()


@dataclass
class Stand:
    """Everything one test starts."""

    folder: Path
    settings: dict[str, str]
    processes: list[ServiceProcess] = field(default_factory=list)

    def launch(self, program: str, *arguments: str, plant: str | None = None, **more: str) -> ServiceProcess:
        """Start `app` or `worker`, with more settings; don't wait for it."""
        port = free_port()
        planted = [sys.executable, "-m", "tests.outages.planted", plant, program]
        command = planted if plant else [str(PROGRAMS / program)]
        process = ServiceProcess.start(
            [*command, "--port", str(port), *arguments],
            settings=self.settings | more,
            folder=self.folder,
            log=f"{program}{len(self.processes)}.log",
            port=port,
        )
        self.processes.append(process)
        return process

    async def start(
        self, program: str, *arguments: str, plant: str | None = None, **more: str
    ) -> ServiceProcess:
        """Start `app` or `worker` and return once it does its work."""
        process = await self.launch(program, *arguments, plant=plant, **more).answers()
        started = "api_started" if program == "app" else "worker_started"
        await until(lambda: started in events(process), f"no {started}: {process.last_words()}")
        return process

    def calling(
        self, process: ServiceProcess, *, user: str = "operator", role: str = "admin", connections: int = 256
    ) -> AbstractAsyncContextManager[Caller]:
        """Call an API process; as the administrator, unless another is named."""
        headers = bearer(self.settings["NS_JWT_SECRET"], user, role=role)
        return calling(process.url, headers, connections=connections, seconds=CALLER_SECONDS)

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            process.end()


@asynccontextmanager
async def a_stand(folder: Path, **settings: str) -> AsyncIterator[Stand]:
    """What is started in it ends with the block."""
    stand = Stand(folder, ordinary_settings(folder) | settings)
    try:
        yield stand
    finally:
        stand.end()


async def readiness(process: ServiceProcess) -> Readiness:
    """Ask an API process how it is."""
    timeout, began = aiohttp.ClientTimeout(total=CALLER_SECONDS), time.monotonic()
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{process.url}/health/ready") as answer,
    ):
        document = await answer.json()
    return Readiness(answer.status, document, time.monotonic() - began)


async def until_missing(process: ServiceProcess, name: str, *, seconds: float = 15) -> Readiness:
    """Wait until a dependency is named as missing; what is told may be a second old."""
    last: list[Readiness] = []

    async def is_missing() -> bool:
        last[:] = [await readiness(process)]
        return name in last[0].missing()

    await until(is_missing, f"nobody misses {name}", seconds=seconds)
    return last[0]


async def until_ready(process: ServiceProcess, *, seconds: float = 15) -> None:
    """Wait until nothing is missing."""
    last: list[Readiness] = []

    async def is_ready() -> bool:
        last[:] = [await readiness(process)]
        return last[0].status == "ready"

    await until(is_ready, "still missing", seconds=seconds, told=lambda: last)


async def until(
    holds: Callable[[], bool | Awaitable[bool]],
    otherwise: str,
    *,
    seconds: float = 20,
    told: Callable[[], object] = lambda: "",
) -> None:
    """Wait until something holds; fail with `otherwise` and what is `told` when it doesn't in time."""
    end = time.monotonic() + seconds
    while True:
        seen = holds()
        if seen if isinstance(seen, bool) else await seen:
            return
        if time.monotonic() > end:
            raise AssertionError(f"{otherwise} after {seconds} s: {told()}")
        await asyncio.sleep(0.05)


def events(process: ServiceProcess) -> list[str]:
    """The names of the lines in a process's log."""
    return [line["event"] for line in lines(process)]


def lines(process: ServiceProcess, event: str | None = None) -> list[dict[str, Any]]:
    """What a process logged, or its lines of one name."""
    text = process.log.read_text(errors="replace")
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in found if event is None or line["event"] == event]


def a_webhook(url: str, *, user: str = "ann", body: str = "hello") -> dict[str, Any]:
    """A notification that goes to a receiver of the test's own."""
    return {"user_id": user, "channel": {"type": "webhook", "url": url}, "body": body}


def an_email(*, user: str = "ann", body: str = "hello") -> dict[str, Any]:
    """A notification that goes to the mailbox."""
    channel = {"type": "email", "to": f"{user}@example.com", "subject": "Hello"}
    return {"user_id": user, "channel": channel, "body": body}
