"""Counts notifications in Redis, for all processes together."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from importlib import resources
from itertools import batched, repeat
from typing import Self
from zlib import crc32

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from notification_service.domain.errors import LimiterUnavailableError
from notification_service.ports import Allowance

DEADLINE = timedelta(milliseconds=500)
"""For a call whose turn has come, connecting included: a server that hangs holds nobody for longer."""
PAUSE = timedelta(seconds=1)
"""After a failed call all others fail at once for so long; then one of them tries."""
CONNECTIONS = 4
"""Calls are batches: more of them at a time would only wait for each other inside the server."""
MOST_SLOTS = 3600
BUCKETS = 16
CHECKED = ("ns:rate:{0}:", "ns:rate:{1}:")
"""Keys of nobody; two, as a cluster would refuse them in one script."""
REMEDIES = {
    (AuthenticationError,): "Redis refuses this user or password; correct NS_REDIS_URL",
    (NoPermissionError,): "Redis does not let this user run scripts on ns:rate:*; give it the right",
    (ReadOnlyError,): "Redis is a replica, which only reads; let NS_REDIS_URL name the primary",
    (OutOfMemoryError,): "Redis is out of memory; raise its maxmemory",
    (ClusterCrossSlotError, MovedError): "Redis is a cluster; let NS_REDIS_URL name a single server",
    (ResponseError,): "Redis does not let the script run; look at its log and at the rights of this user",
}
"""By the first that fits; where none does, waiting is all there is to do."""

OUTAGES = (RedisError, OSError, RuntimeError)
"""TimeoutError is an OSError; uvloop raises a RuntimeError for a connection that was reset under it."""

log = structlog.get_logger(__name__)


class RedisLimiter:
    """A sliding window for each user, shared by all processes and measured by the server's clock.

    A call is one script and one round trip, however many users it asks for. Up to a limit of 3,600 the window
    is exact to the millisecond; above, what falls into one 3,600th of it is kept as one count, so that a user
    takes at most 36 KB. Times are rounded up: no window ever holds more than the limit.

    Nothing is kept that may not be lost: a server that comes back empty counts anew. A call whose answer
    never came may have counted; the window forgets it.
    """

    def __init__(self, url: str, limit: int, window: timedelta = timedelta(hours=1)) -> None:
        """Take a `redis://`, `rediss://` or `unix://` address. The first call connects."""
        window_ms = round(window.total_seconds() * 1000)
        slot_ms = 1 if limit <= MOST_SLOTS else -(-window_ms // MOST_SLOTS)
        self._limit = limit
        self._rule = (limit, window_ms, slot_ms)
        self._redis = Redis.from_pool(_pool(url))
        self._allow = self._redis.register_script(_script("redis_allow.lua"))
        self._give_back = self._redis.register_script(_script("redis_give_back.lua"))
        self._outage = _Outage()
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def __aenter__(self) -> Self:
        """Take calls until the block ends; a server that is out of reach shows at the first of them."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        with suppress(*OUTAGES):
            await self._redis.aclose()

    async def allow_many(self, user_ids: Sequence[str]) -> Sequence[Allowance]:
        """Ask for one notification for each id, in order; what is refused isn't counted.

        Raises `LimiterUnavailableError` after half a second without an answer, and at once while the server
        is known to give none.
        """
        if not user_ids:
            return ()
        asked = Counter(user_ids)
        async with self._turn():
            numbers = await self._allow(_keys(asked), (*self._rule, *asked.values()))
        standings = zip(asked, batched(numbers, 4, strict=True), strict=True)
        answers = {user_id: self._answers(*standing) for user_id, standing in standings}
        return [next(answers[user_id]) for user_id in user_ids]

    async def give_back_many(self, user_ids: Sequence[str]) -> None:
        """Take back one counted notification for each id, the latest; unknown ids are passed over."""
        if not user_ids:
            return
        given = Counter(user_ids)
        async with self._turn():
            await self._give_back(_keys(given), tuple(given.values()))

    async def check(self) -> str:
        """Return a line about where is counted, after counting there; raises `LimiterUnavailableError`."""
        async with self._turns, self._reaching():
            await self._allow(CHECKED, (1, 1, 1, 1, 1))  # a limit of one in a millisecond
        return "counted in Redis, for all processes together"

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Wait for a connection, which is no outage; learn there of one that began meanwhile."""
        async with self._turns:
            self._outage.pass_or_fail()
            async with self._reaching():
                yield

    @asynccontextmanager
    async def _reaching(self) -> AsyncGenerator[None]:
        """Bound the block in time; whatever Redis has against it means that nobody can tell."""
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()):
                yield
        except OUTAGES as error:
            if isinstance(error, ReadOnlyError):
                await self._hang_up()
            raise self._outage.told_of(error) from error
        self._outage.over()

    async def _hang_up(self) -> None:
        """After a fail-over old connections lead to what is a replica now; new ones find the primary."""
        with suppress(*OUTAGES):
            await self._redis.connection_pool.disconnect(inuse_connections=False)

    def _answers(self, granted: int, counted: int, reset: int, retry_after: int) -> Iterator[Allowance]:
        """One user's answers: what is allowed, each leaving one less, then refusals without end."""
        until_empty = timedelta(milliseconds=reset)
        for later in reversed(range(granted)):
            left = self._limit - counted + later
            yield Allowance(allowed=True, limit=self._limit, remaining=left, reset=until_empty)
        yield from repeat(
            Allowance(
                allowed=False,
                limit=self._limit,
                remaining=0,
                reset=until_empty,
                retry_after=timedelta(milliseconds=retry_after),
            )
        )


class _Outage:
    """Remembers that the server is out of reach, so that not every call waits for it; logged once."""

    def __init__(self) -> None:
        self._retry_at: float | None = None

    def pass_or_fail(self) -> None:
        """Raise `LimiterUnavailableError` while the last call failed; let one call in each second try."""
        if self._retry_at is None:
            return
        if time.monotonic() < self._retry_at:
            raise LimiterUnavailableError
        self._pause()

    def told_of(self, error: Exception) -> LimiterUnavailableError:
        """Begin or prolong the outage; return what to raise."""
        outage = LimiterUnavailableError(_reason(error))
        if self._retry_at is None:
            log.warning("limiter_out_of_reach", reason=str(outage), error=type(error).__name__)
        self._pause()
        return outage

    def over(self) -> None:
        """A call was answered."""
        if self._retry_at is not None:
            log.info("limiter_back")
        self._retry_at = None

    def _pause(self) -> None:
        self._retry_at = time.monotonic() + PAUSE.total_seconds()


def _reason(error: Exception) -> str | None:
    """Say what to do about it; None where waiting is all there is to do."""
    return next((remedy for kinds, remedy in REMEDIES.items() if isinstance(error, kinds)), None)


def _pool(url: str) -> ConnectionPool:
    # Calls have a deadline of their own, which leaves closing to be bounded; and are never repeated, as a
    # repeat might count twice.
    return ConnectionPool.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=DEADLINE.total_seconds(),
        protocol=2,
    )


def _keys(user_ids: Iterable[str]) -> list[str]:
    """One key for each id; a cluster places them by what stands in braces, so in `BUCKETS` places."""
    return [f"ns:rate:{{{crc32(user_id.encode()) % BUCKETS}}}:{user_id}" for user_id in user_ids]


def _script(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
