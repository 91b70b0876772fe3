"""One run: a served API, many connections, every input, and what was wrong."""

import asyncio
import itertools
import secrets
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.caller import bearer, calling
from tests.e2e.processes import PROGRAMS, ServiceProcess, ordinary_settings
from tests.e2e.wire import Answer, Connection
from tests.fuzz.cases import Caller, Case
from tests.fuzz.checks import complaints, repeats
from tests.fuzz.corpus import corpus
from tests.fuzz.generator import Generator
from tests.services import free_port

CONNECTIONS = 32
PATIENCE = 5.0
"""Seconds within which every answer has to be there."""
MOMENT = 0.1
"""Seconds for whatever comes back to what isn't a request."""
MOST_GROWTH = 96 * 1024 * 1024
WARM_UP = 500
SHOWN = 400


@dataclass
class Report:
    """What one run found."""

    inputs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    """What was wrong, with the inputs that showed it."""
    slowest: tuple[float, str] = (0.0, "")
    times: list[float] = field(default_factory=list)
    growth: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.wrong

    def complain(self, what: str, case: Case) -> None:
        """Note what was wrong."""
        self.wrong.setdefault(f"{case.name}: {what}", []).append(repr(case.sent[:SHOWN]))

    def line(self) -> str:
        """All of it in one line."""
        seen = ", ".join(f"{status} {count}" for status, count in sorted(self.statuses.items()))
        middle = statistics.median(self.times) if self.times else 0.0
        return (
            f"{'OK' if self.is_good else 'BROKEN'}: {self.inputs} inputs in {self.seconds:.1f} s "
            f"({self.inputs / self.seconds:.0f}/s), median answer {middle * 1000:.0f} ms, slowest "
            f"{self.slowest[0]:.2f} s ({self.slowest[1]}), memory {self.growth / 1024 / 1024:+.0f} MB; {seen}"
        )

    def complaints(self) -> list[str]:
        """Everything that was wrong, with one example each."""
        return [f"  {what} ({len(found)} times), e.g. {found[0]}" for what, found in self.wrong.items()]


class Fuzz:
    """One run against one served API."""

    def __init__(self, port: int, marker: str) -> None:
        self._port = port
        self._marker = marker
        self.report = Report()

    async def run(self, cases: Iterator[Case]) -> None:
        """Send all of them, many at once."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(self._work(cases))
        self.report.seconds += time.monotonic() - began

    async def _work(self, cases: Iterator[Case]) -> None:
        connection: Connection | None = None
        for case in cases:
            self.report.inputs += 1
            if case.is_framed:
                connection = await self._ask(case, connection)
            else:
                await self._throw(case)
        if connection:
            connection.close()

    async def _ask(self, case: Case, connection: Connection | None) -> Connection | None:
        """Send one request; return the connection while it can be used again."""
        connection = connection or await Connection.open(self._port)
        answer = await self._answer(case, connection, PATIENCE)
        if answer is None:
            self.report.complain("no answer within 5 s, or the connection was broken off", case)
        if answer is None or answer.headers.get("connection", "").lower() == "close":
            connection.close()
            return None
        return connection

    async def _throw(self, case: Case) -> None:
        """Send something on a connection of its own."""
        connection = await Connection.open(self._port)
        try:
            if case.ending == "hang up":
                await connection.send(case.sent)
            else:
                patience = PATIENCE if case.ending == "answer" else MOMENT
                if await self._answer(case, connection, patience) is None and case.ending == "answer":
                    self.report.complain("no answer within 5 s, or the connection was broken off", case)
        finally:
            connection.close()

    async def _answer(self, case: Case, connection: Connection, patience: float) -> Answer | None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                _, answer = await asyncio.gather(
                    connection.send(case.sent), connection.answer(has_body=case.has_body)
                )
        except TimeoutError:
            answer = None
        if answer:
            self._judge(case, answer, time.monotonic() - began)
        return answer

    def _judge(self, case: Case, answer: Answer, seconds: float) -> None:
        self.report.statuses[str(answer.status)] += 1
        if seconds > self.report.slowest[0]:
            self.report.slowest = seconds, case.name
        self.report.times.append(seconds)
        for complaint in complaints(case, answer, self._marker):
            self.report.complain(complaint, case)


async def run(*, seed: int, count: int, database: str | None = None) -> Report:
    """Fuzz a served API with the corpus and as many generated inputs as are missing to `count`."""
    with tempfile.TemporaryDirectory(prefix="ns-fuzz-") as name:
        folder, port = Path(name), free_port()
        settings = ordinary_settings(folder) | ({"NS_DATABASE_URL": database} if database else {})
        command: list[str | Path] = [PROGRAMS / "app", "--port", str(port)]
        service = ServiceProcess.start(command, settings=settings, folder=folder, log="app.log", port=port)
        try:
            await service.serves()
            return await _fuzz(service, port, settings["NS_JWT_SECRET"], seed=seed, count=count)
        finally:
            service.end()


async def _fuzz(service: ServiceProcess, port: int, secret: str, *, seed: int, count: int) -> Report:
    marker = f"Zq{secrets.token_hex(4)}"
    caller = Caller(
        user=bearer(secret, "fuzz"), admin=bearer(secret, "fuzz-admin", role="admin"), marker=marker
    )
    fuzz = Fuzz(port, marker)
    generated = Generator(seed, caller).cases()
    by_hand = list(corpus(caller, secret))
    warm_up = itertools.chain(by_hand, itertools.islice(generated, WARM_UP))
    await fuzz.run(warm_up)
    before = service.memory()
    await fuzz.run(itertools.islice(generated, max(count - len(by_hand) - WARM_UP, 0)))
    fuzz.report.growth = service.memory() - before
    await _aftermath(service, caller, fuzz.report)
    return fuzz.report


async def _aftermath(service: ServiceProcess, caller: Caller, report: Report) -> None:
    """Look whether the service is as well as before, and what it wrote into its log."""
    async with calling(service.url, dict(caller.user)) as friend:
        ready = await friend.get("/health/ready")
        channel = {"type": "email", "to": "ann@example.com", "subject": "Still there"}
        answer = await friend.post("/v1/notifications", {"user_id": "fuzz", "channel": channel, "body": "b"})
    log = service.log.read_bytes()
    for what, is_so in {
        "is not ready": (ready.status, ready.document["status"]) != (200, "ready"),
        "doesn't accept any more": answer.status != 202,
        "repeats the input in its log": repeats(log, caller.marker),
        "failed inside, says its log": b"request_failed" in log or b"Traceback" in log,
        "grew": report.growth > MOST_GROWTH,
    }.items():
        if is_so:
            report.wrong[f"the service {what}"] = [_evidence(log, caller.marker)]


def _evidence(log: bytes, marker: str) -> str:
    lines = log.decode(errors="replace").splitlines()
    bad = [line for line in lines if "request_failed" in line or repeats(line.encode(), marker)]
    return repr((bad or lines)[-1][-1_500:]) if lines else ""
