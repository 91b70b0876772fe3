"""Limiters on the real Redis."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest_asyncio

from notification_service.adapters.limiters.redis import RedisLimiter

type Make = Callable[..., RedisLimiter]


@pytest_asyncio.fixture
async def make_limiter() -> AsyncIterator[Make]:
    """Give a maker of limiters, which are closed after the test."""
    async with AsyncExitStack() as stack:

        def make(url: str, limit: int, window: timedelta = timedelta(hours=1)) -> RedisLimiter:
            limiter = RedisLimiter(url, limit, window)
            stack.push_async_exit(limiter)
            return limiter

        yield make
