"""Whether the service can do its work, and what it misses when it can't."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from time import monotonic

from notification_service.domain.errors import NotificationServiceError

PATIENCE = timedelta(seconds=2)
GOOD_FOR = timedelta(seconds=1)
"""Anybody may ask, and each look takes connections that work needs."""


class CheckStatus(StrEnum):
    """How one dependency is."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class ReadyStatus(StrEnum):
    """How the whole is: degraded still takes work."""

    READY = "ready"
    DEGRADED = "degraded"
    UNREADY = "unready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one look at a dependency showed."""

    status: CheckStatus
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What all of them showed."""

    status: ReadyStatus
    checks: Mapping[str, Check]


type Look = Callable[[], Awaitable[str]]


class Health:
    """Looks at every dependency at once; one that hangs counts as down after two seconds."""

    def __init__(
        self,
        *,
        needed: Mapping[str, Look],
        helpful: Mapping[str, Look],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Without a `needed` dependency nothing is accepted; without a `helpful` one work is only delayed.

        `clock` counts seconds.
        """
        self._looks = {**needed, **helpful}
        self._needed = frozenset(needed)
        self._clock = clock
        self._looking = asyncio.Lock()
        self._begun = set[asyncio.Future[str]]()
        self._seen: tuple[float, Readiness] | None = None

    async def readiness(self) -> Readiness:
        """Return what one look at everything showed, at most a second ago; many callers share it."""
        async with self._looking:
            if self._seen is None or self._clock() >= self._seen[0] + GOOD_FOR.total_seconds():
                readiness = await self._look_around()
                self._seen = self._clock(), readiness
            return self._seen[1]

    async def _look_around(self) -> Readiness:
        names = list(self._looks)
        checks = dict(zip(names, await asyncio.gather(*(self._look(name) for name in names)), strict=True))
        return Readiness(status=_overall(checks.values()), checks=checks)

    async def _look(self, name: str) -> Check:
        missing = CheckStatus.DOWN if name in self._needed else CheckStatus.DEGRADED
        look = self._begin(self._looks[name])
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                return Check(status=CheckStatus.UP, detail=await asyncio.shield(look))
        except NotificationServiceError as error:
            return Check(status=missing, detail=str(error))
        except TimeoutError:
            return Check(status=missing, detail="no answer within 2 seconds")
        except Exception as error:  # a refused password, a bug: the others are to be shown all the same
            return Check(status=missing, detail=type(error).__name__)
        finally:
            look.cancel()  # and not waited for: there may be a connection to close that hangs

    def _begin(self, look: Look) -> asyncio.Future[str]:
        begun = asyncio.ensure_future(look())
        self._begun.add(begun)
        begun.add_done_callback(self._ended)
        return begun

    def _ended(self, look: asyncio.Future[str]) -> None:
        self._begun.discard(look)
        if not look.cancelled():
            look.exception()  # one that came too late is nobody's any more


def _overall(checks: Iterable[Check]) -> ReadyStatus:
    statuses = {check.status for check in checks}
    if CheckStatus.DOWN in statuses:
        return ReadyStatus.UNREADY
    return ReadyStatus.DEGRADED if CheckStatus.DEGRADED in statuses else ReadyStatus.READY
