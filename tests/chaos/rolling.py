"""Rolling restarts: every process is asked to stop and started again, one at a time, under load."""

import asyncio

from tests.chaos.run import Scene
from tests.chaos.site import Member

RESTARTS = 20
PAUSE_SECONDS = 0.5


async def rolling(scene: Scene) -> None:
    """Restart API processes and workers in turns while clients send; nothing is lost and nothing repeated."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scene.traffic.run(scene.plan.stormy, seconds=scene.plan.seconds))
        tasks.create_task(_restart_all(scene))
    await scene.settled()
    await scene.traffic.run(scene.plan.calm, seconds=1)


async def _restart_all(scene: Scene) -> None:
    turns = [each for pair in zip(*scene.site.members.values(), strict=True) for each in pair]
    for number in range(RESTARTS):
        member = turns[number % len(turns)]
        async with member.turn:
            await _restart(scene, member)
        await asyncio.sleep(PAUSE_SECONDS)


async def _restart(scene: Scene, member: Member) -> None:
    scene.blows.note(f"{member.name} is asked to stop")
    code = await member.stop()
    scene.blows.note(f"{member.name} left with {code}")
    scene.blows.exits[f"{member.program} left with {code}"] += 1
    if code != 0:
        scene.site.incidents.append(f"{member.name} left with {code} when it was asked to stop")
    await member.start()
    if not await scene.site.all_ready():
        scene.site.incidents.append(f"{member.name} was restarted and is not ready")
