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


class IncompleteFlushError(NotificationServiceError):
    """a flush did not return one result for each item; nobody knows which took effect"""


class Batcher[Item, Result]:
    """Collects what is submitted while a flush runs and flushes it together as soon as that one has ended.

    No timer: alone, an item is flushed at once; under load, batches grow by themselves. A flush returns one
    result or exception for each item. When it raises instead, its batch is halved until the culprit stands
    alone, unless the error says that nothing could be reached (`UnavailableError`).
    """

    def __init__(
        self, flush: Flush[Item, Result], *, largest: int, capacity: int, patience: timedelta
    ) -> None:
        """Flush at most `largest` items at once, let at most `capacity` wait, give a flush `patience`."""
        self._flush = flush
        self._largest = largest
        self._capacity = capacity
        self._patience = patience.total_seconds()
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._runner: asyncio.Task[None] | None = None
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

        Raises `OverloadedError` at once when too many wait, and when its flush takes longer than the
        patience (then nobody knows whether it took effect). A cancelled caller takes its item back unless the
        item's flush has begun.
        """
        if self._closed or len(self._waiting) >= self._capacity:
            raise OverloadedError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            # A context of its own: the logs of a flush belong to no single caller.
            self._runner = asyncio.create_task(self._run(), context=Context())
        return await future

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

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._largest:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _settle(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not batch:
            return
        try:
            async with asyncio.timeout(self._patience):
                results = await self._flush([item for item, _ in batch])
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

    async def _isolate(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
        if len(batch) == 1:
            _fail(batch, error)
        else:
            middle = len(batch) // 2
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])


def _answer[Item, Result](
    batch: Sequence[tuple[Item, asyncio.Future[Result]]], results: Sequence[Result | Exception]
) -> None:
    if len(results) != len(batch):
        _fail(batch, IncompleteFlushError())
        return
    for (_, future), result in zip(batch, results, strict=True):
        if future.done():  # its caller has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _fail[Item, Result](batch: Iterable[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _is_being_cancelled() -> bool:
    """Whether the running task was told to end, as opposed to something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
