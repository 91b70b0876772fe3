"""The installation: servers behind proxies, `app` and `worker` processes, and those who are notified."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.chaos.behaviour import Behaviour
from tests.chaos.brokers import a_broker
from tests.chaos.companions import a_companion
from tests.chaos.plan import (
    LEASE_SECONDS,
    MAX_RETRIES,
    QUEUED_TIMEOUT_SECONDS,
    RETRY_SCHEDULE,
    SEND_TIMEOUT_SECONDS,
    STALL_SECONDS,
    SWEEP_SECONDS,
    Plan,
)
from tests.chaos.proxies import Proxies, standing_before
from tests.chaos.servers import Postgres, Redis, Server
from tests.chaos.warden import Warden
from tests.e2e.processes import PROGRAMS, DidNotStartError, ServiceProcess, ordinary_settings
from tests.services import free_port

STOP_SECONDS = 20
LOOK_SECONDS = 0.25


@dataclass
class Member:
    """One process of the service, always at the same port, started again whenever it is gone."""

    program: str
    number: int
    site: "Site"
    port: int = field(default_factory=free_port)
    process: ServiceProcess | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever does something to it."""

    @property
    def name(self) -> str:
        return f"{self.program}{self.number}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        assert self.process
        await self.process.answers()

    def launch(self) -> None:
        """Start it."""
        command: list[str | Path] = [PROGRAMS / self.program, "--port", str(self.port)]
        if self.site.plan.plant:
            planted = ["-m", "tests.chaos.planted", self.site.plan.plant, str(self.number)]
            command = [sys.executable, *planted, self.program, "--port", str(self.port)]
        self.process = ServiceProcess.start(
            command,
            settings=self.site.settings,
            folder=self.site.folder,
            log=f"{self.name}.log",
            port=self.port,
        )
        self.site.warden.watch(self.process.running.pid)

    def kill(self) -> None:
        """End it as a power failure would."""
        assert self.process
        self.process.kill()
        self.site.warden.forget(self.process.running.pid)

    async def stop(self) -> int:
        """Ask it to stop and return its exit code; one that doesn't within its time is killed."""
        assert self.process
        try:
            return await self.process.stop(seconds=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL
        finally:
            self.site.warden.forget(self.process.running.pid)

    async def is_ready(self) -> bool:
        """Whether it answers and has all it needs."""
        timeout = aiohttp.ClientTimeout(total=2)
        path = "health/ready" if self.program == "app" else "health"
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/{path}") as answer,
            ):
                return answer.status == 200
        return False

    async def supervise(self) -> None:
        """Start it again when it has ended by itself, which it must not."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            async with self.turn:
                if self.process and self.process.running.poll() is not None:
                    code, words = self.process.running.returncode, self.process.last_words(5)
                    self.site.incidents.append(f"{self.name} ended by itself with {code}: {words}")
                    with suppress(DidNotStartError):
                        await self.start()


@dataclass
class Site:
    """Everything that runs."""

    plan: Plan
    folder: Path
    warden: Warden
    servers: dict[str, Server]
    proxies: Proxies
    settings: dict[str, str]
    webhook_url: str
    receivers_ledger: Path
    members: dict[str, list[Member]] = field(default_factory=dict)
    incidents: list[str] = field(default_factory=list)
    """What no fault explains."""

    @property
    def database(self) -> str:
        """The way to the database past the proxy."""
        postgres = self.servers["postgres"]
        assert isinstance(postgres, Postgres)
        return postgres.url

    @property
    def apps(self) -> list[Member]:
        return self.members["app"]

    @property
    def everybody(self) -> list[Member]:
        return [each for members in self.members.values() for each in members]

    def appoint(self) -> None:
        """Give every process its port."""
        self.members = {
            "app": [Member("app", number, self) for number in range(self.plan.apps)],
            "worker": [Member("worker", number, self) for number in range(self.plan.workers)],
        }

    async def start(self) -> None:
        """Start the service: one process first, which makes the tables."""
        first, *others = self.everybody
        await first.start()
        await asyncio.gather(*(each.start() for each in others))

    async def all_ready(self, *, seconds: float = 60) -> bool:
        """Wait until every process has all it needs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(await asyncio.gather(*(each.is_ready() for each in self.everybody))):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False


@asynccontextmanager
async def a_site(plan: Plan, folder: Path, warden: Warden) -> AsyncIterator[Site]:
    """Start the servers, the proxies and the receivers; the service itself is not yet started."""
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {
            each.name: each for each in (Postgres(folder, warden), Redis(folder, warden))
        }
        broker = a_broker(plan.broker, folder, warden)
        if broker:
            servers["broker"] = broker
        proxies = await stack.enter_async_context(standing_before(servers, warden))
        ledger = folder / "receivers.jsonl"
        webhook, smtp = await stack.enter_async_context(_receiving(plan.behaviour, ledger, warden))
        settings = _settings(folder) | {"NS_BROKER": plan.broker, "NS_SMTP_URL": f"smtp://127.0.0.1:{smtp}"}
        for server in servers.values():
            settings |= server.settings()
            stack.push_async_callback(server.end)
        await asyncio.gather(*(server.start() for server in servers.values()))
        settings |= plan.settings
        site = Site(
            plan, folder, warden, servers, proxies, settings, f"http://127.0.0.1:{webhook}/hook", ledger
        )
        stack.callback(_end_all, site)
        yield site


def _settings(folder: Path) -> dict[str, str]:
    return ordinary_settings(folder) | {
        "NS_LEASE_SECONDS": str(LEASE_SECONDS),
        "NS_SEND_TIMEOUT_SECONDS": str(SEND_TIMEOUT_SECONDS),
        "NS_SWEEP_INTERVAL_SECONDS": str(SWEEP_SECONDS),
        "NS_QUEUED_TIMEOUT_SECONDS": str(QUEUED_TIMEOUT_SECONDS),
        "NS_MAX_RETRIES": str(MAX_RETRIES),
        "NS_RETRY_SCHEDULE": RETRY_SCHEDULE,
        "NS_WORKER_CONCURRENCY": "32",
        "NS_SHUTDOWN_SECONDS": "15",
        "NS_EMAIL_PROVIDERS": "smtp",
        "NS_LOG_LEVEL": "warning",
    }


@asynccontextmanager
async def _receiving(behaviour: Behaviour, ledger: Path, warden: Warden) -> AsyncIterator[tuple[int, int]]:
    """Run the receivers; give the ports of webhooks and of mail."""
    manners = "polite" if behaviour.polite else "any"
    arguments = (str(behaviour.seed), manners, str(STALL_SECONDS), str(ledger))
    async with a_companion(warden, "tests.chaos.receivers", *arguments) as companion:
        webhook, smtp = (await companion.hear()).split()
        yield int(webhook), int(smtp)


def _end_all(site: Site) -> None:
    for each in site.everybody:
        if each.process:
            each.process.end()
            site.warden.forget(each.process.running.pid)
