"""One run: accept alone, accept while delivering, deliver the rest, count everything."""

import re
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.caller import Caller, bearer, calling, until_settled
from tests.e2e.processes import PROGRAMS, ServiceProcess, ordinary_settings
from tests.load.clients import Accepts, Clients
from tests.load.database import commits, stored_ids, transactions
from tests.services import free_port

SMALLEST_BATCH = 20
USERS = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, by how many."""

    accepts: int = 20_000
    clients: int = 500
    workers: int = 1
    concurrency: int = 256


@dataclass(kw_only=True)
class Report:
    """What one run measured, and what didn't add up."""

    plan: Plan
    accepted: int = 0
    stored: int = 0
    sent: int = 0
    in_mailbox: int = 0
    transactions: int = 0
    """By the service's own metrics, for all accepts."""
    written_alone: int = 0
    """Transactions that wrote, by PostgreSQL, for the first half, while nothing was delivered."""
    commits: int = 0
    """All of them, by PostgreSQL, from the first start to the last stop."""
    batch: float = 0.0
    batch_by_postgres: float = 0.0
    alone: dict[str, float] = field(default_factory=dict)
    delivering: dict[str, float] = field(default_factory=dict)
    seconds_to_deliver: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.wrong

    def line(self) -> str:
        """All of it in one line."""
        rates = "; ".join(
            f"{name} {found['rate']:.0f}/s, p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms"
            for name, found in (("alone", self.alone), ("while delivering", self.delivering))
        )
        return (
            f"{'OK' if self.is_good else 'BROKEN'}: {self.plan.clients} clients; {self.accepted} accepted = "
            f"{self.stored} stored = {self.sent} sent = {self.in_mailbox} in the mailbox; "
            f"{self.transactions} accept transactions of {self.batch:.1f} (PostgreSQL, first half: "
            f"{self.written_alone} of {self.batch_by_postgres:.1f}; in all {self.commits} commits); {rates}; "
            f"the rest delivered {self.seconds_to_deliver:.1f} s after the last accept"
        )

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        return asdict(self) | {"ok": self.is_good}


async def run(plan: Plan, database: str) -> Report:
    """Measure one installation on an empty database; everything it starts ends with it."""
    with tempfile.TemporaryDirectory(prefix="ns-load-") as name:
        site = _Site(Path(name), database, plan)
        try:
            return await _measure(plan, site)
        finally:
            for process in site.processes:
                process.end()


@dataclass
class _Site:
    """The processes under load."""

    folder: Path
    database: str
    plan: Plan
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[ServiceProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = ordinary_settings(self.folder) | {
            "NS_DATABASE_URL": self.database,
            "NS_WORKER_CONCURRENCY": str(self.plan.concurrency),
            "NS_LOG_LEVEL": "warning",
        }

    async def start_api(self) -> None:
        """Start the one process that accepts."""
        await self._start("app", self.port, "app.log")

    async def start_workers(self) -> None:
        """Start those that deliver."""
        for number in range(self.plan.workers):
            await self._start("worker", free_port(), f"worker{number}.log")

    async def stop(self) -> None:
        """Let every process finish and leave."""
        for process in self.processes:
            await process.stop()

    async def _start(self, program: str, port: int, log: str) -> None:
        command: list[str | Path] = [PROGRAMS / program, "--port", str(port)]
        process = ServiceProcess.start(
            command, settings=self.settings, folder=self.folder, log=log, port=port
        )
        self.processes.append(process)
        await process.serves()


async def _measure(plan: Plan, site: _Site) -> Report:
    report = Report(plan=plan)
    await site.start_api()
    secret = site.settings["NS_JWT_SECRET"]
    clients = Clients.of(site.port, secret, users=USERS, count=plan.clients)
    url, middle = f"http://127.0.0.1:{site.port}", plan.accepts // 2
    before = await transactions(site.database)
    alone = await clients.send(range(middle))
    report.written_alone = await transactions(site.database) - before
    await site.start_workers()
    delivering = await clients.send(range(middle, plan.accepts))
    last = time.monotonic()
    async with calling(url, bearer(secret, "load-test", role="admin")) as caller:
        await until_settled(caller)
        report.seconds_to_deliver = time.monotonic() - last
        await _count(report, caller, site, alone, delivering)
    await site.stop()
    report.commits = await commits(site.database)
    return report


async def _count(report: Report, caller: Caller, site: _Site, alone: Accepts, delivering: Accepts) -> None:
    accepted = alone.ids + delivering.ids
    stored = await stored_ids(site.database)
    mailbox = Counter(mail["notification_id"] for mail in await caller.everything("/v1/mailbox"))
    total, number = await _batches(caller)
    report.accepted, report.stored, report.in_mailbox = len(accepted), len(stored), mailbox.total()
    report.sent = await _sent(caller)
    report.transactions, report.batch = number, total / max(number, 1)
    report.batch_by_postgres = len(alone.ids) / max(report.written_alone, 1)
    report.alone, report.delivering = _figures(alone), _figures(delivering)
    statuses = alone.statuses + delivering.statuses
    for wrong, is_so in {
        f"not everything was accepted: {dict(statuses)}": len(accepted) != report.plan.accepts,
        "an id was given twice": len(set(accepted)) != len(accepted),
        "what is stored isn't what was accepted": sorted(stored) != sorted(accepted),
        "not everything was sent": report.sent != len(accepted),
        "something arrived twice or not at all": mailbox != Counter(accepted),
        f"batches are smaller than {SMALLEST_BATCH}": report.batch <= SMALLEST_BATCH,
        "PostgreSQL counts more transactions": report.batch_by_postgres <= SMALLEST_BATCH,
    }.items():
        report.wrong += [wrong] if is_so else []


def _figures(accepts: Accepts) -> dict[str, float]:
    return {
        "rate": accepts.rate,
        "p50_ms": accepts.percentile(0.50),
        "p99_ms": accepts.percentile(0.99),
    }


async def _sent(caller: Caller) -> int:
    page = await caller.get("/notifications", status="sent", per_page="1")
    return int(page.document["total"])


async def _batches(caller: Caller) -> tuple[int, int]:
    """How much was accepted, and in how many batches, by the service's own count."""
    async with aiohttp.ClientSession() as session, session.get(f"{caller.url}/metrics") as answer:
        text = await answer.text()
    found = dict(re.findall(r"^notification_accept_batch_size_(sum|count) ([0-9.]+)$", text, re.MULTILINE))
    return int(float(found["sum"])), int(float(found["count"]))
