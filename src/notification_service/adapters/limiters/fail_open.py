"""Lets everything pass while nobody can count."""

from collections.abc import Sequence
from datetime import timedelta

from notification_service.domain.errors import LimiterUnavailableError
from notification_service.ports import Allowance, Limiter


class FailOpen:
    """`Limiter` that allows, uncounted, what the limiter behind it can't count."""

    def __init__(self, limiter: Limiter, limit: int) -> None:
        """Ask `limiter`; tell everybody the full `limit` while it is out of reach."""
        self._limiter = limiter
        self._uncounted = Allowance(allowed=True, limit=limit, remaining=limit, reset=timedelta())

    async def allow_many(self, user_ids: Sequence[str]) -> Sequence[Allowance]:
        """Ask for one notification for each id; all are allowed while nobody can tell."""
        try:
            return await self._limiter.allow_many(user_ids)
        except LimiterUnavailableError:
            return [self._uncounted] * len(user_ids)

    async def give_back_many(self, user_ids: Sequence[str]) -> None:
        """Take back one counted notification for each id; raises `LimiterUnavailableError`."""
        await self._limiter.give_back_many(user_ids)

    async def check(self) -> str:
        """Return a line about where is counted; raises `LimiterUnavailableError`, for people to know."""
        return await self._limiter.check()
