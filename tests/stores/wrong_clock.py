"""A process whose wall clock is wrong by so many seconds; it does what it is told, line by line."""

import datetime as dt
import sys
import time
from typing import Any, override

WRONG_BY = float(sys.argv[1])
_TRUE_TIME, _TRUE = time.time, dt.datetime


class _Meta(type):
    @override
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _TRUE)


class _WrongDatetime(dt.datetime, metaclass=_Meta):
    """What every module that is imported from here on takes for `datetime`."""

    @override
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _TRUE.now(tz) + dt.timedelta(seconds=WRONG_BY)

    @override
    @classmethod
    def utcnow(cls) -> Any:
        return _TRUE.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=WRONG_BY)


time.time = lambda: _TRUE_TIME() + WRONG_BY
time.time_ns = lambda: int(time.time() * 1e9)
dt.datetime = _WrongDatetime  # type: ignore[misc]

import asyncio  # noqa: E402
import json  # noqa: E402
from datetime import timedelta  # noqa: E402

from notification_service.domain.acceptance import Acceptance  # noqa: E402
from notification_service.domain.notification import Notification, Status  # noqa: E402
from tests.stores.house import AN_HOUR, House  # noqa: E402
from tests.stores.making import a_notification  # noqa: E402


class Process:
    """What it can be told; each returns what it saw, as JSON."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._taken: list[Notification] = []

    async def clocks(self) -> tuple[float, float]:
        """Its wall clock, and the time it takes for true."""
        return time.time(), self._house.store.now().timestamp()

    async def accept(self, hold: float = 0, due_in: float = 0) -> None:
        due_at = self._house.store.now() + timedelta(seconds=due_in)
        one = a_notification(now=self._house.store.now(), due_at=due_at, status=Status.PENDING)
        await self._house.store.add_many(
            [Acceptance(notifications=(one,))], keep_answers=AN_HOUR, hold=timedelta(seconds=hold)
        )

    async def take(self, hold: float) -> int:
        self._taken = list(await self._house.outbox.take(limit=10, hold=timedelta(seconds=hold)))
        return len(self._taken)

    async def mark(self, trust: float) -> None:
        await self._house.outbox.mark_queued(self._taken, trust=timedelta(seconds=trust))

    async def distrust(self) -> int:
        return await self._house.outbox.distrust(["email"], limit=10)

    async def claim(self, lease: float) -> int:
        return len(await self._house.claim(lease=timedelta(seconds=lease)))

    async def lost(self) -> int:
        return len(await self._house.store.lost_claims(limit=10))


async def main(url: str) -> None:
    async with House.open(url) as house:
        process = Process(house)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, arguments = json.loads(line)
            sys.stdout.write(json.dumps(await getattr(process, name)(**arguments)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2]))
