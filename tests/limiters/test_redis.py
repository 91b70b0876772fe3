"""The limiter that counts in Redis, on a real server."""

import asyncio
import time
from datetime import timedelta
from typing import override
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from notification_service.adapters.limiters import redis as redis_limiter
from notification_service.adapters.limiters.memory import MemoryLimiter
from notification_service.adapters.limiters.redis import RedisLimiter
from notification_service.ports import Limiter
from tests.limiters.conformance import LimiterConformance
from tests.limiters.conftest import Make
from tests.services.redis import OwnRedis

USERS = st.sampled_from(["ann", "bob", "cy"])
STEPS = st.lists(st.tuples(st.sampled_from(["allow", "give back"]), st.lists(USERS, max_size=6)), max_size=20)


class TestRedisLimiter(LimiterConformance):
    """What every limiter promises, in real time."""

    window = timedelta(seconds=2)
    slack = timedelta(seconds=0.3)

    @pytest.fixture(autouse=True)
    def _server(self, redis_database: str, make_limiter: Make) -> None:
        self.url = redis_database
        self.make_limiter = make_limiter

    @override
    def make(self, limit: int) -> Limiter:
        return self.make_limiter(self.url, limit, self.window)

    @override
    async def tick(self, time: timedelta) -> None:
        await asyncio.sleep(time.total_seconds())


async def test_two_processes_share_the_count(redis_database: str, make_limiter: Make) -> None:
    one, other = make_limiter(redis_database, 3), make_limiter(redis_database, 3)
    await one.allow_many(["ann", "ann"])

    answers = await other.allow_many(["ann", "ann"])

    assert [answer.allowed for answer in answers] == [True, False]


async def test_concurrent_calls_never_pass_the_limit_together(
    redis_database: str, make_limiter: Make
) -> None:
    """200 calls of 64 users each, in two processes: each user gets exactly its limit."""
    users = [f"user {number}" for number in range(64)]
    limiters = [make_limiter(redis_database, 100) for _ in range(2)]

    calls = await asyncio.gather(*(limiters[call % 2].allow_many(users) for call in range(200)))

    assert [sum(call[at].allowed for call in calls) for at in range(64)] == [100] * 64


async def test_no_window_ever_holds_more_than_the_limit(redis_database: str, make_limiter: Make) -> None:
    """And yet each that is over makes room for the next."""
    limit, window = 20, 0.4
    limiter = make_limiter(redis_database, limit, timedelta(seconds=window))
    allowed: list[tuple[float, float]] = []
    while len(allowed) < 4 * limit:
        before = time.monotonic()
        answers = await limiter.allow_many(["ann"] * 3)
        allowed += [(before, time.monotonic()) for answer in answers if answer.allowed]
        await asyncio.sleep(0.007)

    spans = [later[1] - earlier[0] for earlier, later in zip(allowed, allowed[limit:], strict=False)]

    assert min(spans) >= window
    assert allowed[-1][0] - allowed[0][0] < window * 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.sampled_from([1, 2, 4, 5000]), steps=STEPS)
def test_it_agrees_with_the_one_in_memory(
    redis_database: str, limit: int, steps: list[tuple[str, list[str]]]
) -> None:
    asyncio.run(compare(redis_database, limit, steps))


async def compare(url: str, limit: int, steps: list[tuple[str, list[str]]]) -> None:
    mark, memory = uuid4(), MemoryLimiter(limit)
    async with RedisLimiter(url, limit) as limiter:
        for step, users in steps:
            names = [f"{mark}{user}" for user in users]
            if step == "give back":
                await limiter.give_back_many(names)
                await memory.give_back_many(names)
            else:
                answers, expected = await limiter.allow_many(names), await memory.allow_many(names)
                assert [(each.allowed, each.remaining) for each in answers] == [
                    (each.allowed, each.remaining) for each in expected
                ]


async def test_a_call_is_one_round_trip_however_many_users(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = make_limiter(own_redis.url, 5)
    users = [f"user {number}" for number in range(500)]
    await limiter.allow_many(["ann"])
    await limiter.give_back_many(["ann"])
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_resetstat()

        await limiter.allow_many([*users, *users])
        await limiter.give_back_many(users)

        commands = client.info("commandstats")
    asked = {name for name, calls in commands.items() if calls["calls"] and "|" not in name}
    assert asked <= {"cmdstat_evalsha", "cmdstat_get", "cmdstat_set", "cmdstat_time", "cmdstat_info"}
    assert commands["cmdstat_evalsha"]["calls"] == 2
    assert commands["cmdstat_get"]["calls"] == 1000


@pytest.mark.parametrize("limit", [3, 10_000_000])
async def test_keys_go_when_their_window_is_over(redis_database: str, make_limiter: Make, limit: int) -> None:
    limiter = make_limiter(redis_database, limit, timedelta(seconds=0.5))
    await limiter.allow_many(["ann", "ann", "bob"])
    await limiter.give_back_many(["ann"])
    with redis.Redis.from_url(redis_database) as client:
        lifetimes = [client.pttl(key) for key in client.keys("ns:*")]

        await asyncio.sleep(0.7)

        assert lifetimes
        assert all(0 < lifetime <= 502 for lifetime in lifetimes)
        assert client.keys("ns:*") == []


async def test_what_was_given_back_wholly_leaves_no_key(redis_database: str, make_limiter: Make) -> None:
    limiter = make_limiter(redis_database, 5)
    await limiter.allow_many(["ann", "ann"])

    await limiter.give_back_many(["ann", "ann", "ann", "bob"])

    with redis.Redis.from_url(redis_database) as client:
        assert client.keys("ns:*") == []


async def test_a_high_limit_takes_little_memory_and_still_holds(
    redis_database: str, make_limiter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What falls into one slot is one count, over when the whole slot is: never too early."""
    monkeypatch.setattr(redis_limiter, "MOST_SLOTS", 4)
    window = timedelta(seconds=1)
    limiter = make_limiter(redis_database, 200, window)
    began = time.monotonic()
    for _ in range(20):
        await limiter.allow_many(["ann"] * 9)
        await asyncio.sleep(0.01)
    full = (await limiter.allow_many(["ann"] * 21))[-1]
    with redis.Redis.from_url(redis_database) as client:
        [key] = client.keys("ns:*")
        size = client.strlen(key)

    await asyncio.sleep(full.retry_after.total_seconds())
    waited = timedelta(seconds=time.monotonic() - began)

    assert not full.allowed
    assert size <= 4 + 10 * 5
    assert window <= waited <= 1.25 * window + timedelta(seconds=0.5)
    assert (await limiter.allow_many(["ann"]))[0].allowed


async def test_another_limit_reads_what_the_last_one_counted(redis_database: str, make_limiter: Make) -> None:
    """A setting changes while the window is full, and processes of both versions run."""
    low, high = make_limiter(redis_database, 2), make_limiter(redis_database, 5000)
    await high.allow_many(["ann"] * 4)

    refused = (await low.allow_many(["ann"]))[0]
    allowed = (await high.allow_many(["ann"]))[0]

    assert (refused.allowed, refused.remaining) == (False, 0)
    assert timedelta(minutes=59) < refused.retry_after <= timedelta(hours=1, seconds=1)
    assert (allowed.allowed, allowed.remaining) == (True, 4995)
    assert (await low.allow_many(["bob"]))[0].reset <= timedelta(hours=1, milliseconds=1)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=255))
def test_a_cluster_keeps_the_keys_of_a_bucket_in_one_place(user_id: str) -> None:
    """Whatever braces an id holds."""
    [key] = redis_limiter._keys([user_id])

    assert key.startswith("ns:rate:{")
    assert key_slot(key.encode()) == key_slot(key[len("ns:rate:{") : key.index("}")].encode())


async def test_whoever_waits_exactly_as_long_as_told_is_allowed(
    redis_database: str, make_limiter: Make
) -> None:
    limiter = make_limiter(redis_database, 1, timedelta(seconds=0.05))
    for _ in range(10):
        await limiter.allow_many(["ann"])
        (refused,) = await limiter.allow_many(["ann"])
        await asyncio.sleep(refused.retry_after.total_seconds())

        (answer,) = await limiter.allow_many(["ann"])

        assert answer.allowed
        await asyncio.sleep(0.06)
