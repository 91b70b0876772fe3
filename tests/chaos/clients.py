"""Clients that send every request until they hear a clear answer, whatever dies meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.plan import Order, Plan, orders
from tests.crash.ledger import Ledger
from tests.e2e.caller import Answer, Caller

LONGEST_WAIT = 5.0


@dataclass
class Traffic:
    """Some clients that share the work; each request goes to another process than its last try."""

    plan: Plan
    callers: list[Caller]
    webhook_url: str
    ledger: Ledger
    parts: list[range] = field(default_factory=list)
    """What was sent together."""
    asked: set[int] = field(default_factory=set)
    """Everything that was ever sent: what has no entry in the ledger may still have been taken in."""
    accepted_at: dict[int, float] = field(default_factory=dict)
    due_at: dict[int, str] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    refusals: list[str] = field(default_factory=list)
    """Answers that nothing here deserves."""
    without_retry_after: list[str] = field(default_factory=list)

    async def run(self, numbers: range, *, seconds: float) -> None:
        """Return when each of these is answered; spread over `seconds`, if the service keeps up."""
        self.parts.append(numbers)
        began, pace = time.monotonic(), seconds / max(len(numbers), 1)
        waiting = orders(self.plan, numbers, self.webhook_url)

        async with asyncio.TaskGroup() as clients:
            for _ in range(self.plan.clients):
                clients.create_task(self._client(waiting, numbers.start, began, pace))

    @property
    def unanswered(self) -> set[int]:
        """What was sent and never clearly answered."""
        return self.asked - self.ledger.ids.keys()

    async def _client(self, waiting: Iterator[Order], first: int, began: float, pace: float) -> None:
        for order in waiting:
            turn = began + (order.numbers.start - first) * pace
            await asyncio.sleep(max(0.0, turn - time.monotonic()))
            await self._until_answered(order)

    async def _until_answered(self, order: Order) -> None:
        self._note_asked(order)
        tries = order.numbers.start
        while True:
            answer = await self._try(order, self.callers[tries % len(self.callers)])
            tries += 1
            if answer and answer.status == 202:
                await self._accepted(order, answer)
                return
            if answer and answer.status < 500 and answer.status != 409:
                self.refusals.append(f"request {order.key} got {answer.status}: {answer.document}")
                return
            await asyncio.sleep(self._wait(order, answer))

    def _note_asked(self, order: Order) -> None:
        self.asked.update(order.numbers)
        documents = order.document["notifications"] if order.is_bulk else [order.document]
        for number, document in zip(order.numbers, documents, strict=True):
            if "scheduled_for" in document:
                self.due_at[number] = document["scheduled_for"]

    def _wait(self, order: Order, answer: Answer | None) -> float:
        if answer is None:
            return 0.1
        told = answer.headers.get("retry-after")
        if told is None:
            self.without_retry_after.append(f"request {order.key} got {answer.status}: {answer.document}")
        return min(float(told or 0.1), LONGEST_WAIT)

    async def _accepted(self, order: Order, answer: Answer) -> None:
        results = answer.document["results"] if order.is_bulk else [{"notification": answer.document}]
        entries = {}
        for number, result in zip(order.numbers, results, strict=True):
            if "notification" in result:
                entries[number] = result["notification"]["id"]
            else:
                self.refusals.append(f"item {number} was rejected: {result}")
        await asyncio.gather(*(self.ledger.add(*entry) for entry in entries.items()))
        self.accepted_at |= dict.fromkeys(entries, time.time())

    async def _try(self, order: Order, caller: Caller) -> Answer | None:
        """Send once; None when nobody knows what became of it."""
        began = time.monotonic()
        try:
            answer = await caller.post(order.path, order.document, key=order.key)
        except aiohttp.ClientConnectorError:
            self.answers["nobody listened"] += 1
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.answers["unknown"] += 1
        else:
            replayed = "idempotency-replayed" in answer.headers
            self.answers["replayed" if replayed else str(answer.status)] += 1
            return answer
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        return None
