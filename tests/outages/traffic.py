"""Callers who don't give up: each request has a key and is repeated until it is accepted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp

from tests.e2e.caller import Answer, Caller
from tests.outages.stand import a_webhook

PAUSE = 0.05


@dataclass(frozen=True)
class Told:
    """One answer, and how long it took."""

    answer: Answer
    seconds: float


@dataclass
class Traffic:
    """What so many callers at a time were told."""

    callers: Sequence[Caller]
    url: str
    """Where the notifications go."""
    told: list[Told] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    """The id that was promised under each key."""
    broken: int = 0
    """Connections that ended without an answer."""
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def one(self, number: int = 0, *, key: str | None = None) -> str:
        """Send one, again until it is accepted, at one API process after the other; return its id."""
        key = key or uuid4().hex
        while True:
            caller = self.callers[number % len(self.callers)]
            try:
                told = await self.ask(caller, key)
            except aiohttp.ClientConnectionError:
                self.broken += 1
            else:
                if told.answer.status == 202:
                    self.accepted[key] = told.answer.document["id"]
                    return self.accepted[key]
            await asyncio.sleep(PAUSE)
            number += 1

    async def ask(self, caller: Caller | None = None, key: str | None = None) -> Told:
        """Send one, once."""
        began, key = time.monotonic(), key or uuid4().hex
        caller = caller or self.callers[0]
        answer = await caller.post("/v1/notifications", a_webhook(self.url, body=key), key=key)
        told = Told(answer, time.monotonic() - began)
        self.told.append(told)
        return told

    async def flow(self, number: int) -> None:
        """Send one after the other until it is time to stop."""
        while not self._stopping.is_set():
            await self.one(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._stopping.wait()

    @asynccontextmanager
    async def flowing(self, *, callers: int = 20) -> AsyncIterator[None]:
        """So many send while the block runs; at its end each has what it asked for."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(self.flow(number))
            try:
                yield
            finally:
                self._stopping.set()
        self._stopping.clear()

    @property
    def slowest(self) -> float:
        """Seconds of the slowest answer."""
        return max(each.seconds for each in self.told)

    def statuses(self) -> Counter[int]:
        """How often each status was told."""
        return Counter(each.answer.status for each in self.told)

    def refusals(self) -> list[Told]:
        """What was not accepted, each with the time to come again."""
        refused = [each for each in self.told if each.answer.status != 202]
        for each in refused:
            assert each.answer.status == 503, each.answer.document
            assert int(each.answer.headers["retry-after"]) >= 1
        return refused
