"""The blows, as the plan wants them."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.chaos.hands import Hands
from tests.chaos.plan import Fault
from tests.chaos.proxy import Mode
from tests.chaos.site import Member, Site
from tests.e2e.processes import DidNotStartError

PROXY_MODES = {
    "cut": Mode.CUT,
    "stall": Mode.STALLED,
    "half-open": Mode.HALF_OPEN,
    "unreachable": Mode.UNREACHABLE,
    "slow": Mode.SLOW,
}
LOSES_CLAIMS = frozenset({"worker", "postgres"})
"""What may leave a claim without a known ending."""


@dataclass
class Blows:
    """Strikes; each kind of machine is struck by one fault at a time, different kinds at will."""

    site: Site
    hands: Hands
    struck: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    async def run(self, faults: Sequence[Fault]) -> None:
        """Return when all of it is over and everything runs again."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as targets:
            for target in sorted({fault.target for fault in faults}):
                targets.create_task(self._one_by_one([each for each in faults if each.target == target]))

    def note(self, what: str) -> None:
        """Write down what happens now."""
        self.log.append(f"{datetime.now(UTC):%H:%M:%S.%f} {what}")

    async def _one_by_one(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(max(0.0, self._began + fault.at - time.monotonic()))
            self.note(str(fault))
            self.struck[f"{fault.target} {fault.deed}"] += 1
            await self._strike(fault)

    async def _strike(self, fault: Fault) -> None:
        if fault.target not in LOSES_CLAIMS:
            await self._hit(fault)
            return
        async with self.hands.watched():
            await self.hands.look()
            await self._hit(fault)

    async def _hit(self, fault: Fault) -> None:
        if fault.target in self.site.members:
            members = self.site.members[fault.target]
            chosen = members if fault.member is None else [members[fault.member % len(members)]]
            await asyncio.gather(*(self._hit_member(each, fault) for each in chosen))
        else:
            await self._hit_server(fault)

    async def _hit_member(self, member: Member, fault: Fault) -> None:
        async with member.turn:
            assert member.process
            match fault.deed:
                case "freeze":
                    member.process.freeze()
                    await asyncio.sleep(fault.seconds)
                    member.process.thaw()
                    return
                case "kill":
                    member.kill()
                case "stop":
                    self._note_exit(member, await member.stop())
            await asyncio.sleep(fault.seconds)
            with suppress(DidNotStartError):  # the next look of its supervisor starts it again
                await member.start()

    def _note_exit(self, member: Member, code: int) -> None:
        """A process that was asked to stop leaves with 0; one that can't write down what it did may not."""
        self.exits[f"{member.program} left with {code}"] += 1

    async def _hit_server(self, fault: Fault) -> None:
        server = self.site.servers[fault.target]
        match fault.deed:
            case "kill" | "wipe" | "restart":
                await {"kill": server.kill, "wipe": server.wipe, "restart": server.stop}[fault.deed]()
                await asyncio.sleep(fault.seconds)
                await server.start()
            case deed:
                await self.site.proxies.turn(fault.target, PROXY_MODES[deed])
                await asyncio.sleep(fault.seconds)
                await self.site.proxies.turn(fault.target, Mode.OPEN)
