"""What is allowed while nobody can count."""

from datetime import timedelta

import pytest

from notification_service.adapters.limiters.fail_open import FailOpen
from notification_service.domain.errors import LimiterUnavailableError
from notification_service.ports import Allowance
from tests.limiters.conftest import Make
from tests.services.redis import OwnRedis


async def test_while_the_limiter_answers_it_decides(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = FailOpen(make_limiter(own_redis.url, 1), 1)

    answers = await limiter.allow_many(["ann", "ann"])
    await limiter.give_back_many(["ann"])

    assert [answer.allowed for answer in answers] == [True, False]
    assert (await limiter.allow_many(["ann"]))[0].allowed


async def test_out_of_reach_everything_is_allowed_uncounted(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = FailOpen(make_limiter(own_redis.url, 1), 1)
    own_redis.kill()

    answers = await limiter.allow_many(["ann"] * 3)

    assert answers == [Allowance(allowed=True, limit=1, remaining=1, reset=timedelta())] * 3


async def test_the_check_still_says_that_nobody_counts(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = FailOpen(make_limiter(own_redis.url, 1), 1)
    own_redis.kill()

    with pytest.raises(LimiterUnavailableError):
        await limiter.check()
