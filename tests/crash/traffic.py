"""The client: sends every request until it hears a clear answer, however often the service dies meanwhile."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tests.crash.ledger import Ledger
from tests.crash.plan import Plan
from tests.e2e.caller import Answer, Caller


@dataclass
class Traffic:
    """Some clients that share the work."""

    plan: Plan
    caller: Caller
    sink_url: str
    ledger: Ledger
    endings: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    """Answers that nothing here deserves."""

    async def run(self, requests: range) -> None:
        """Return when each of these requests has its answer."""
        numbers = iter(requests)

        async def client() -> None:
            for number in numbers:
                await self._until_answered(number)

        async with asyncio.TaskGroup() as clients:
            for _ in range(self.plan.clients):
                clients.create_task(client())

    async def _until_answered(self, number: int) -> None:
        while True:
            answer = await self._try(number)
            if answer and answer.status == 202:
                await self.ledger.add(number, answer.document["id"])
                return
            if answer and answer.status < 500:
                self.refusals.append(f"request {number} got {answer.status}: {answer.document}")
                return
            await asyncio.sleep(0.05)

    async def _try(self, number: int) -> Answer | None:
        """Send once; None when nobody knows what became of it."""
        document, key = self.plan.request(number, self.sink_url), self.plan.key(number)
        try:
            answer = await self.caller.post("/v1/notifications", document, key=key)
        except aiohttp.ClientConnectorError:
            self.endings["nobody listened"] += 1
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.endings["unknown"] += 1
        else:
            self.endings["replayed" if "idempotency-replayed" in answer.headers else str(answer.status)] += 1
            return answer
        return None
