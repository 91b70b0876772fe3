"""Turns concurrent single calls into one call on a sequence."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from datetime import timedelta
from typing import Self

from notification_service.domain.errors import (
    NotificationServiceError,
    OverloadedError,
    UnavailableError,
)

type Flush[Item, Result] = Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]
type Waiting[Item, Result] = tuple[Item, asyncio.Future[Result], float]
"""An item, where its result goes, and since when it waits."""

TURN = 1 / 4
"""Of the patience: whoever waits longer for the flush to begin, or would have to, is refused."""


class IncompleteFlushError(NotificationServiceError):
    """a flush did not return one result for each item; nobody knows which took effect"""


class Batcher[Item, Result]:
    """Collects what is submitted while a flush runs and flushes it together as soon as that one has ended.

    No timer: alone, an item is flushed at once; under load, batches grow by themselves. Overloaded, new items
    are refused while there is still time for those that wait, so that what is begun is finished.

    A flush returns one result or exception for each item. When it raises instead, its batch is halved until
    the culprit stands alone, unless the error says that nothing could be reached (`UnavailableError`).
    """

    def __init__(
        self, flush: Flush[Item, Result], *, largest: int, capacity: int, patience: timedelta
    ) -> None:
        """Flush at most `largest` items at once, let at most `capacity` wait, each for at most `patience`."""
        self._flush = flush
        self._largest = largest
        self._capacity = capacity
        self._patience = patience.total_seconds()
        self._waiting: deque[Waiting[Item, Result]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._turn = self._patience * TURN
        self._size = largest
        """How many are flushed at once for now."""
        self._began: float | None = None
        """When the flush that runs began."""
        self._pace = 0.0
        """Seconds that the last flush took."""
        self._refusing: asyncio.TimerHandle | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        """Take items until the block ends."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuse new items and return when every waiting one has its result."""
        self._closed = True
        if self._runner:
            await asyncio.wait([self._runner])

    async def submit(self, item: Item) -> Result:
        """Return the item's own result; raise its own error.

        Raises `OverloadedError` at once when too many wait or nothing moves, and when the patience is over,
        which begins now (if the item's flush has begun, nobody knows whether it took effect). A cancelled
        caller takes its item back unless the item's flush has begun.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._closed or len(self._waiting) >= self._capacity or self._is_slow(now):
            raise OverloadedError
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future, now))
        self._refusing = self._refusing or loop.call_later(self._turn, self._refuse_late)
        if self._runner is None:
            # A context of its own: the logs of a flush belong to no single caller.
            self._runner = asyncio.create_task(self._run(), context=Context())
        return await future

    def _is_slow(self, now: float) -> bool:
        """Whether a new item would wait too long: a flush takes for ever, or several slow ones come first."""
        batches_ahead = len(self._waiting) // self._size
        running_for = now - self._began if self._began else 0
        return max(running_for, batches_ahead * self._pace) > self._turn

    def _refuse_late(self) -> None:
        """Refuse who has waited too long, now and when it is the next one's time."""
        loop = asyncio.get_running_loop()
        self._refusing = None
        while self._waiting and self._waiting[0][2] + self._turn <= loop.time():
            _fail([self._waiting.popleft()], OverloadedError())
        if self._waiting:
            self._refusing = loop.call_at(self._waiting[0][2] + self._turn, self._refuse_late)

    async def _run(self) -> None:
        # Between the last look at the deque and clearing the runner nothing awaits: no wake-up can be lost.
        try:
            while self._waiting:
                await self._settle(self._next_batch())
        except BaseException:  # the loop is ending: nobody is left to wait for ever
            _fail(self._waiting, OverloadedError())
            raise
        finally:
            self._runner = None

    def _next_batch(self) -> list[Waiting[Item, Result]]:
        batch: list[Waiting[Item, Result]] = []
        while self._waiting and len(batch) < self._size:
            waiting = self._waiting.popleft()
            if not waiting[1].done():
                batch.append(waiting)
        return batch

    async def _settle(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        """Flush until the oldest item is out of patience."""
        if not batch:
            return
        loop, deadline = asyncio.get_running_loop(), batch[0][2] + self._patience
        began = self._began = loop.time()
        # Ending a flush takes time, too: it may have connections to close that hang.
        giving_up = loop.call_at(deadline, _fail, batch, OverloadedError())
        try:
            async with asyncio.timeout_at(deadline):
                results = await self._flush([item for item, _, _ in batch])
        except TimeoutError:
            _fail(batch, OverloadedError())
        except UnavailableError as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, OverloadedError())
            if _is_being_cancelled():
                raise
        except Exception as error:
            await self._isolate(batch, error)
        else:
            _answer(batch, results)
        finally:
            giving_up.cancel()
            self._began = None
            self._keep_pace(len(batch), loop.time() - began)

    def _keep_pace(self, count: int, seconds: float) -> None:
        """Have a batch take no longer than a turn: after a slow one half as many, after a quick one more."""
        self._pace = seconds
        slow = seconds > self._turn
        self._size = max(1, count // 2) if slow else min(self._largest, self._size * 2)

    async def _isolate(self, batch: Sequence[Waiting[Item, Result]], error: Exception) -> None:
        if len(batch) == 1:
            _fail(batch, error)
        else:
            middle = len(batch) // 2
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])


def _answer[Item, Result](
    batch: Sequence[Waiting[Item, Result]], results: Sequence[Result | Exception]
) -> None:
    if len(results) != len(batch):
        _fail(batch, IncompleteFlushError())
        return
    for (_, future, _), result in zip(batch, results, strict=True):
        if future.done():  # its caller has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _fail[Item, Result](batch: Iterable[Waiting[Item, Result]], error: Exception) -> None:
    for _, future, _ in batch:
        if not future.done():
            future.set_exception(error)


def _is_being_cancelled() -> bool:
    """Whether the running task was told to end, as opposed to something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
