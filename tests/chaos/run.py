"""One run from beginning to end: send, suffer, recover, judge."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.clients import Traffic
from tests.chaos.evidence import Evidence, gather
from tests.chaos.faults import Blows
from tests.chaos.hands import Hands
from tests.chaos.plan import Plan
from tests.chaos.report import Report
from tests.chaos.site import Site, a_site
from tests.chaos.verdict import bound, judge
from tests.chaos.warden import a_warden
from tests.crash.ledger import open_ledger
from tests.e2e.caller import Caller, bearer, calling, until_settled

LONGEST_STALL = 0.7
STEP = 0.05


@dataclass
class Scene:
    """What a scenario works with."""

    plan: Plan
    site: Site
    traffic: Traffic
    hands: Hands
    blows: Blows
    caller: Caller
    """Somebody who may see everything."""
    report: Report

    async def settled(self) -> bool:
        """Wait until everything is final; what never becomes so is found by the judge."""
        return await until_settled(self.caller, patience=self.plan.patience)


type Scenario = Callable[[Scene], Awaitable[None]]


async def chaos(scene: Scene) -> None:
    """Send while everything fails; then, when all runs again, send the rest."""
    plan = scene.plan
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scene.traffic.run(plan.stormy, seconds=plan.seconds))
        tasks.create_task(scene.blows.run(plan.faults))
    if not await scene.site.all_ready():
        scene.report.broken["not_recovered"] = ["a process is not ready, with all faults long over"]
    await scene.settled()
    await scene.traffic.run(plan.calm, seconds=len(plan.calm) / 200)


async def run(plan: Plan, scenario: Scenario = chaos, *, reports: Path | None = None) -> Report:
    """Run it and judge; everything it starts ends with it.

    A report goes into the folder `reports`, and beside it, where something is wrong, the service's logs.
    """
    report, began = Report(name=scenario.__name__, plan=plan), time.monotonic()
    folder = _new_folder()
    with a_warden(folder) as warden, open_ledger(folder / "clients") as ledger:
        async with a_site(plan, folder, warden) as site, _calling(site, plan) as callers:
            traffic = Traffic(plan, callers, site.webhook_url, ledger)
            hands = Hands(site.database)
            scene = Scene(plan, site, traffic, hands, Blows(site, hands), callers[0], report)
            await _play(scene, scenario)
        report.seconds = time.monotonic() - began
        if reports:
            report.write(reports, logs=folder)
    return report


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ns-chaos-"))
    folder.chmod(0o755)  # a server that runs as somebody else has its own in here
    return folder


async def _play(scene: Scene, scenario: Scenario) -> None:
    await scene.site.start()
    async with _in_the_background(scene):
        await scenario(scene)
        await scene.settled()
    evidence = await gather(scene.plan, scene.caller, scene.traffic, scene.site.receivers_ledger, scene.hands)
    _note(scene, evidence)


@asynccontextmanager
async def _in_the_background(scene: Scene) -> AsyncIterator[None]:
    watches = [scene.hands.watch(), _watch_the_machine(scene.report)]
    watches += [member.supervise() for member in scene.site.everybody]
    tasks = [asyncio.create_task(each) for each in watches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _calling(site: Site, plan: Plan) -> AsyncIterator[list[Caller]]:
    """One caller for each API process; ports are known before anything is started."""
    site.appoint()
    admin = bearer(site.settings["NS_JWT_SECRET"], "chaos", role="admin")
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(calling(each.url, admin, connections=plan.clients))
            for each in site.apps
        ]


async def _watch_the_machine(report: Report) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(STEP)
        report.longest_stall = max(report.longest_stall, time.monotonic() - before - STEP)


def _note(scene: Scene, evidence: Evidence) -> None:
    report, traffic = scene.report, scene.traffic
    report.accepted, report.arrived = len(evidence.accepted), len(evidence.arrivals)
    report.failed = sum(row["status"] == "failed" for row in evidence.rows.values())
    report.unanswered = len(traffic.unanswered)
    report.answers, report.longest_answer = dict(traffic.answers), traffic.longest
    report.repeats = sum(map(evidence.repeats, evidence.arrivals))
    report.claims_in_hand = evidence.in_hand.total()
    report.unknown_endings = sum(map(evidence.unexplained, evidence.histories))
    report.bound = bound(evidence)
    report.struck, report.faults = dict(scene.blows.struck), scene.blows.log
    report.figures["exits"] = dict(scene.blows.exits)
    report.figures["blind"] = {"seconds": round(scene.hands.blind_seconds, 1), "for": scene.hands.blind_for}
    report.kills = _kills(scene.blows.struck)
    found = judge(evidence, scene.plan)
    if report.longest_stall > LONGEST_STALL:  # leases run out on a machine that stands still
        found.pop("lost_without_a_crash", None)
    report.stories = {name: evidence.story(name) for names in found.values() for name in names}
    report.broken |= found | {name: told for name, told in _mishaps(scene).items() if told}


def _kills(struck: Counter[str]) -> dict[str, int]:
    """Count what died unasked, by kind."""
    kills: Counter[str] = Counter()
    for name, count in struck.items():
        kind, deed = name.split()
        kills[kind] += count if deed in ("kill", "wipe") else 0
    return dict(+kills)


def _mishaps(scene: Scene) -> dict[str, list[str]]:
    """What is wrong whatever the evidence says."""
    traffic = scene.traffic
    errors = [
        f"{count} answers were {status}" for status, count in traffic.answers.items() if status == "500"
    ]
    return {
        "refused": traffic.refusals,
        "no_retry_after": traffic.without_retry_after,
        "internal_errors": errors,
        "ended_by_itself": scene.site.incidents,
    }
