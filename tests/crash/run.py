"""One run from beginning to end, and its figures."""

import asyncio
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.evidence import Evidence, gather
from tests.crash.hands import ClaimInHand
from tests.crash.ledger import Ledger, open_ledger
from tests.crash.plan import SEND_TIMEOUT_SECONDS, Plan
from tests.crash.traffic import Traffic
from tests.crash.verdict import judge
from tests.crash.victim import Victim
from tests.e2e.caller import bearer, calling, until_settled
from tests.e2e.sink import Sink, webhook_sink, within

SHOWN = 3
LONGEST_STALL = 0.5
STEP = 0.05
QUICK = within(0, 0.05)
SLOW = within(SEND_TIMEOUT_SECONDS / 5, SEND_TIMEOUT_SECONDS * 3 / 5)


@dataclass(kw_only=True)
class Report:
    """What one run found."""

    plan: Plan
    accepted: int = 0
    kills: int = 0
    unknown_requests: int = 0
    webhooks_arrived: int = 0
    repeats: int = 0
    unknown_endings: int = 0
    claims_in_hand: int = 0
    bound: int = 0
    seconds: float = 0.0
    longest_stall: float = 0.0
    """Seconds for which this very process wasn't given the machine."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    stories: dict[str, str] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not self.broken

    def line(self) -> str:
        """All of it in one line."""
        lost = len(self.broken.get("accepted_but_not_stored", ()))
        unfinished = len(self.broken.get("not_final", ()))
        return (
            f"{'OK' if self.is_good else 'BROKEN'}: {self.accepted} accepted, {self.kills} kills, 1 freeze, "
            f"{self.unknown_requests} requests of unknown ending repeated with their key; "
            f"lost {lost}, not final {unfinished}; repeats {self.repeats} of unknown endings "
            f"{self.unknown_endings}, claims in hand {self.claims_in_hand}, bound {self.bound}; "
            f"{self.seconds:.1f} s, longest stall {self.longest_stall:.1f} s"
        )

    def complaints(self) -> list[str]:
        """A line for each broken promise, and some of the stories behind it."""
        lines = []
        for name, found in self.broken.items():
            lines.append(f"  {name}: {len(found)}, for instance")
            lines += [f"    {self.stories.get(one, one)}" for one in found[:SHOWN]]
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        return asdict(self) | {"ok": self.is_good}


async def run(plan: Plan) -> Report:
    """Send, kill, wait, and judge; everything it starts ends with it."""
    report, began = Report(plan=plan, bound=plan.bound), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="ns-crash-") as name,
        open_ledger(Path(name) / "ledger") as ledger,
    ):
        victim = Victim(plan, Path(name))
        watch = asyncio.create_task(_watch_the_machine(report))
        try:
            await _run(plan, victim, ledger, report)
        finally:
            watch.cancel()
            victim.end()
    report.seconds = time.monotonic() - began
    return report


async def _run(plan: Plan, victim: Victim, ledger: Ledger, report: Report) -> None:
    admin = bearer(victim.settings["NS_JWT_SECRET"], "crash-test", role="admin")
    async with (
        webhook_sink(ledger=victim.folder / "sink", delay=QUICK) as sink,
        calling(victim.url, admin) as caller,
    ):
        traffic = Traffic(plan, caller, sink.url, ledger)
        try:
            async with asyncio.timeout(plan.seconds):
                await _send_and_suffer(plan, victim, traffic, sink)
        except TimeoutError:
            report.broken["took_too_long"] = [f"{len(ledger.ids)} of {plan.accepts} were accepted"]
        await victim.revive()
        await until_settled(caller)
        evidence = await gather(
            plan=plan,
            caller=caller,
            accepted=ledger.ids,
            sink=sink,
            in_hand=[*victim.in_hand, victim.at_the_thaw],
        )
        _note(report, victim, traffic, evidence)
        report.webhooks_arrived = len(sink.arrivals)


async def _send_and_suffer(plan: Plan, victim: Victim, traffic: Traffic, sink: Sink) -> None:
    service = await victim.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(plan.with_kills))
        tasks.create_task(victim.die_and_rise(service, traffic.ledger))
    worker = await victim.start_worker()
    sink.delay = SLOW  # so that both workers have their hands full
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(plan.with_freezes))
        tasks.create_task(victim.freeze(worker, traffic.ledger))


async def _watch_the_machine(report: Report) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(STEP)
        report.longest_stall = max(report.longest_stall, time.monotonic() - before - STEP)


def _note(report: Report, victim: Victim, traffic: Traffic, evidence: Evidence) -> None:
    report.accepted = len(evidence.accepted)
    report.kills = victim.kills
    report.unknown_requests = traffic.endings["unknown"]
    report.repeats = sum(map(evidence.repeats, evidence.arrivals))
    report.unknown_endings = sum(evidence.attempts(name, "unknown") for name in evidence.histories)
    report.claims_in_hand = len(frozenset[ClaimInHand]().union(*victim.in_hand))
    report.broken |= judge(evidence, traffic.plan)
    if report.longest_stall > LONGEST_STALL:  # leases run out on a machine that stands still
        report.broken.pop("lost_without_a_crash", None)
    report.stories = {one: evidence.story(one) for found in report.broken.values() for one in found}
    if traffic.refusals:
        report.broken["refused"] = traffic.refusals
