"""The service that dies: `notify up`, killed and started again, and a second worker that freezes."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.hands import ClaimInHand, claims_in_hand
from tests.crash.ledger import Ledger
from tests.crash.plan import (
    FROZEN_SECONDS,
    LEASE_SECONDS,
    SEND_TIMEOUT_SECONDS,
    SWEEP_SECONDS,
    Plan,
)
from tests.e2e.processes import PROGRAMS, ServiceProcess, is_healthy, ordinary_settings
from tests.services import free_port

BUSY_LOOKS = 250
LOOKS_AT_A_THAW = 10


@dataclass
class Victim:
    """One installation on one database."""

    plan: Plan
    folder: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[ServiceProcess] = field(default_factory=list)
    kills: int = 0
    in_hand: list[frozenset[ClaimInHand]] = field(default_factory=list)
    """What was being sent at each kill and at the freeze."""
    at_the_thaw: frozenset[ClaimInHand] = frozenset()

    def __post_init__(self) -> None:
        """Make its settings: short leases, so that what was lost is found again soon."""
        self.settings = ordinary_settings(self.folder) | {
            "NS_DATABASE_URL": self.database,
            "NS_LEASE_SECONDS": str(LEASE_SECONDS),
            "NS_SEND_TIMEOUT_SECONDS": str(SEND_TIMEOUT_SECONDS),
            "NS_SWEEP_INTERVAL_SECONDS": str(SWEEP_SECONDS),
            "NS_WORKER_CONCURRENCY": str(self.plan.concurrency),
            "NS_MAX_RETRIES": "20",
            "NS_RETRY_SCHEDULE": "1",
            "NS_LOG_LEVEL": "warning",
        }

    @property
    def database(self) -> str:
        """Where it keeps everything."""
        return self.plan.database or f"sqlite:///{self.folder / 'crash.db'}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> ServiceProcess:
        """Start everything in one process and wait until it answers."""
        command = ["up", "--no-link", "--port", str(self.port)]
        return await self._run("notify", command, self.port, "up.log")

    async def die_and_rise(self, service: ServiceProcess, ledger: Ledger) -> None:
        """Die at every planned moment and come back."""
        for count in self.plan.kill_after:
            await ledger.reaches(count)
            await asyncio.sleep(self.plan.pause())
            service.kill()
            self.kills += 1
            await self._look(alive=False)
            service = await self.start()

    async def start_worker(self) -> ServiceProcess:
        """Start a second worker beside the first."""
        port = free_port()
        return await self._run("worker", ["--port", str(port)], port, "worker.log")

    async def freeze(self, worker: ServiceProcess, ledger: Ledger) -> None:
        """Let a worker stand still beyond its leases while others take over, then go on."""
        await ledger.reaches(self.plan.freeze_after)
        await self._both_are_busy()
        worker.freeze()
        await self._look(alive=True)
        await asyncio.sleep(FROZEN_SECONDS)
        worker.thaw()
        for _ in range(LOOKS_AT_A_THAW):  # a claim that was frozen half-way is made now, its lease run out
            self.at_the_thaw |= await claims_in_hand(self.database, alive=True)
            await asyncio.sleep(0.1)

    async def revive(self) -> None:
        """Start the service again if it lies dead: there are questions to answer."""
        if not await is_healthy(self.url):
            await self.start()

    def end(self) -> None:
        """Leave no process behind."""
        for process in self.processes:
            process.end()

    async def _both_are_busy(self) -> None:
        """Wait, not for ever, until more is being sent than one worker has places for."""
        for _ in range(BUSY_LOOKS):
            if len(await claims_in_hand(self.database, alive=True)) > self.plan.concurrency:
                return
            await asyncio.sleep(0.02)

    async def _look(self, *, alive: bool) -> None:
        self.in_hand.append(await claims_in_hand(self.database, alive=alive))

    async def _run(self, program: str, arguments: list[str], port: int, log: str) -> ServiceProcess:
        command: list[str | Path] = [PROGRAMS / program, *arguments]
        if self.plan.plant:
            command = [sys.executable, "-m", "tests.crash.planted", self.plan.plant, program, *arguments]
        process = ServiceProcess.start(
            command, settings=self.settings, folder=self.folder, log=log, port=port
        )
        self.processes.append(process)
        return await process.serves()
