"""What hangs: each server stands still for a while, and nobody waits longer for it than promised."""

import asyncio
import time

import aiohttp

from tests.chaos.run import Scene

FROZEN_SECONDS = 30.0
RECOVERY_SECONDS = 15.0
DEADLINE_SECONDS = 11.5
"""The service's own ten seconds, and what a busy machine adds."""
LOOKS_AFTERWARDS = 10


async def hang(scene: Scene) -> None:
    """Freeze one server after the other under load: answers come in time, and all recovers by itself."""
    names = list(scene.site.servers)
    share = len(scene.plan.stormy) // len(names)
    for place, name in enumerate(names):
        before = scene.traffic.answers.copy()
        scene.traffic.longest = 0.0
        numbers = range(place * share, (place + 1) * share if name != names[-1] else scene.plan.stormy.stop)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scene.traffic.run(numbers, seconds=FROZEN_SECONDS + RECOVERY_SECONDS))
            frozen = tasks.create_task(_freeze(scene, name))
        slowest_check, recovered = frozen.result()
        answers = dict(scene.traffic.answers - before)
        scene.report.figures[name] = {
            "longest answer": round(scene.traffic.longest, 1),
            "longest health check": round(slowest_check, 1),
            "ready again after": round(recovered, 1),
            "answers": answers,
        }
        _judge(scene, name, max(scene.traffic.longest, slowest_check))
        await scene.settled()
    await scene.traffic.run(scene.plan.calm, seconds=1)


def _judge(scene: Scene, name: str, longest: float) -> None:
    if longest > DEADLINE_SECONDS:
        late = f"{longest:.1f} s passed without an answer while {name} stood still"
        scene.report.broken.setdefault("answered_too_late", []).append(late)


async def _freeze(scene: Scene, name: str) -> tuple[float, float]:
    """Return how long the slowest health check took meanwhile, and when all was well again."""
    server = scene.site.servers[name]
    await asyncio.sleep(1)
    async with scene.hands.watched():
        await scene.hands.look()
        scene.blows.note(f"{name} stands still for {FROZEN_SECONDS:.0f} s")
        server.freeze()
        slowest = await _health_checks(scene, until=time.monotonic() + FROZEN_SECONDS)
        server.thaw()
        for _ in range(LOOKS_AFTERWARDS):
            await scene.hands.look()
            await asyncio.sleep(0.1)
    thawed = time.monotonic()
    if not await scene.site.all_ready():
        scene.report.broken.setdefault("not_recovered", []).append(f"not ready long after {name} came back")
    return slowest, time.monotonic() - thawed


async def _health_checks(scene: Scene, *, until: float) -> float:
    slowest = 0.0
    timeout = aiohttp.ClientTimeout(total=2 * DEADLINE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while time.monotonic() < until:
            began = time.monotonic()
            async with session.get(f"{scene.site.apps[0].url}/health/ready") as answer:
                await answer.read()
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.5)
    return slowest
