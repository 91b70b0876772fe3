"""Redis frozen, killed, wiped, refusing: calls fail soon, and work again by themselves."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from structlog.testing import capture_logs

from notification_service.adapters.limiters.redis import DEADLINE, PAUSE, RedisLimiter, _keys
from notification_service.domain.errors import LimiterUnavailableError
from tests.limiters.conftest import Make
from tests.services import free_port
from tests.services.redis import OwnRedis

AT_ONCE = timedelta(milliseconds=200)
LATE = timedelta(milliseconds=500)
"""How much later than promised a busy machine may be."""
PASSWORD = "open-sesame-4711"
RIGHTS = ["-@all", "+evalsha", "+script|load", "+get", "+set", "+del", "+time", "+select"]


async def failing(limiter: RedisLimiter) -> timedelta:
    """Ask, see it fail, and return how long that took."""
    began = time.monotonic()
    with pytest.raises(LimiterUnavailableError):
        await limiter.allow_many(["ann"])
    return timedelta(seconds=time.monotonic() - began)


async def recovering(limiter: RedisLimiter) -> list[bool]:
    """Ask until somebody answers."""
    async with asyncio.timeout((PAUSE + DEADLINE + LATE).total_seconds()):
        while True:
            try:
                return [answer.allowed for answer in await limiter.allow_many(["ann", "ann"])]
            except LimiterUnavailableError:
                await asyncio.sleep(0.02)


async def test_a_server_that_hangs_holds_one_call_for_the_deadline_and_the_next_not_at_all(
    own_redis: OwnRedis, make_limiter: Make
) -> None:
    limiter = make_limiter(own_redis.url, 2)
    await limiter.allow_many(["bob"])

    own_redis.freeze()
    first, second = await failing(limiter), await failing(limiter)
    await asyncio.sleep(PAUSE.total_seconds())
    later = sorted(await asyncio.gather(*(failing(limiter) for _ in range(20))))
    own_redis.thaw()

    assert first < DEADLINE + LATE
    assert second < AT_ONCE
    assert later[-2] < AT_ONCE < later[-1] < DEADLINE + LATE
    assert any(await recovering(limiter))


async def test_a_server_that_never_answered_holds_nobody_either(
    own_redis: OwnRedis, make_limiter: Make
) -> None:
    """The connection stands, as the kernel takes it, and nothing comes."""
    own_redis.freeze()

    assert await failing(make_limiter(own_redis.url, 2)) < DEADLINE + LATE


async def test_calls_in_flight_when_it_hangs_all_end_in_time(own_redis: OwnRedis, make_limiter: Make) -> None:
    """Also those that wait for a connection."""
    limiter = make_limiter(own_redis.url, 2)
    own_redis.freeze()

    took = await asyncio.gather(*(failing(limiter) for _ in range(50)))

    assert max(took) < DEADLINE + LATE


async def test_calls_that_wait_for_each_other_are_no_outage(redis_database: str, make_limiter: Make) -> None:
    """The deadline is the server's, not that of a queue before it."""
    limiter = make_limiter(redis_database, 10_000)
    users = [f"user {number}" for number in range(1000)]
    await limiter.allow_many(users)
    began = time.monotonic()

    await asyncio.gather(*(limiter.allow_many(users) for _ in range(100)))

    assert timedelta(seconds=time.monotonic() - began) > DEADLINE


async def test_killed_and_back_empty_it_counts_anew(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = make_limiter(own_redis.url, 2)
    await limiter.allow_many(["ann", "ann"])

    own_redis.kill()
    await failing(limiter)
    own_redis.start()

    assert await recovering(limiter) == [True, True]


async def test_a_restart_between_two_calls_goes_unnoticed(own_redis: OwnRedis, make_limiter: Make) -> None:
    """A connection that the server has closed is not used again."""
    limiter = make_limiter(own_redis.url, 1)
    await limiter.allow_many(["ann"])

    own_redis.kill()
    own_redis.start()
    await asyncio.sleep(0.02)  # the loop hears of the end

    assert (await limiter.allow_many(["ann"]))[0].allowed


async def test_scripts_that_were_flushed_are_loaded_again(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = make_limiter(own_redis.url, 2)
    await limiter.allow_many(["ann"])
    with redis.Redis.from_url(own_redis.url) as client:
        client.script_flush()

        await limiter.give_back_many(["ann"])
        client.script_flush()

    assert [answer.allowed for answer in await limiter.allow_many(["ann"] * 3)] == [True, True, False]


async def test_what_was_not_there_at_the_start_is_found_later(
    own_redis: OwnRedis, make_limiter: Make
) -> None:
    own_redis.kill()
    limiter = make_limiter(own_redis.url, 2)

    assert await failing(limiter) < DEADLINE + LATE
    own_redis.start()
    assert await recovering(limiter) == [True, True]


async def test_an_outage_is_logged_once_at_its_begin_and_at_its_end(
    own_redis: OwnRedis, make_limiter: Make
) -> None:
    limiter = make_limiter(own_redis.url, 2)
    own_redis.kill()

    with capture_logs() as logs:
        for _ in range(5):
            await failing(limiter)
        await asyncio.sleep(PAUSE.total_seconds())
        await failing(limiter)
        own_redis.start()
        await recovering(limiter)
        await limiter.allow_many(["ann"])

    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("limiter_out_of_reach", "warning"),
        ("limiter_back", "info"),
    ]


async def test_check_says_so_and_ends_the_outage(own_redis: OwnRedis, make_limiter: Make) -> None:
    limiter = make_limiter(own_redis.url, 2)
    own_redis.kill()
    with pytest.raises(LimiterUnavailableError, match="out of reach"):
        await limiter.check()
    own_redis.start()

    assert await limiter.check() == "counted in Redis, for all processes together"
    assert (await limiter.allow_many(["ann"]))[0].allowed


class TestRefusals:
    """The server is there and won't: the message says what to do, and no secret."""

    @pytest.fixture(autouse=True)
    def _locked(self, own_redis: OwnRedis) -> Iterator[None]:
        with redis.Redis.from_url(own_redis.url) as self.admin:
            yield

    @pytest.mark.parametrize("credentials", ["", f":{PASSWORD}@", f"ann:{PASSWORD}@"])
    async def test_a_wrong_password(self, own_redis: OwnRedis, make_limiter: Make, credentials: str) -> None:
        self.admin.config_set("requirepass", "another")
        limiter = make_limiter(own_redis.url.replace("//", f"//{credentials}"), 2)

        await self._refuses(limiter, "Redis refuses this user or password; correct NS_REDIS_URL")

    @pytest.mark.parametrize(
        ("keys", "commands"), [("other", ["+@all"]), ("*", ["+@all", "-evalsha"]), ("*", ["+@all", "-set"])]
    )
    async def test_a_user_without_the_right(
        self, own_redis: OwnRedis, make_limiter: Make, keys: str, commands: list[str]
    ) -> None:
        self.admin.acl_setuser(
            "ann", enabled=True, passwords=[f"+{PASSWORD}"], keys=[keys], commands=commands
        )
        limiter = make_limiter(own_redis.url.replace("//", f"//ann:{PASSWORD}@"), 2)

        await self._refuses(limiter, "Redis does not let .* user")

    async def test_a_user_with_just_the_rights_it_needs_is_served(
        self, own_redis: OwnRedis, make_limiter: Make
    ) -> None:
        self.admin.acl_setuser(
            "ann", enabled=True, passwords=[f"+{PASSWORD}"], keys=["ns:rate:*"], commands=RIGHTS
        )
        limiter = make_limiter(own_redis.url.replace("//", f"//ann:{PASSWORD}@").replace("/0", "/1"), 2)

        assert (await limiter.allow_many(["ann"]))[0].allowed
        await limiter.give_back_many(["ann"])
        await limiter.check()

    async def test_a_replica(self, own_redis: OwnRedis, make_limiter: Make) -> None:
        limiter = make_limiter(own_redis.url, 2)
        self.admin.slaveof("127.0.0.1", "1")
        self.admin.config_set("replica-serve-stale-data", "yes")

        await self._refuses(limiter, "Redis is a replica, which only reads")

        assert len(self.admin.client_list(_type="normal")) == 1  # ours; the limiter will look for the primary

    async def test_no_memory(self, own_redis: OwnRedis, make_limiter: Make) -> None:
        limiter = make_limiter(own_redis.url, 2)
        self.admin.config_set("maxmemory", "1")

        await self._refuses(limiter, "Redis is out of memory; raise its maxmemory")

    async def test_a_cluster(self, cluster: OwnRedis, make_limiter: Make) -> None:
        """The keys of one bucket fit into one script there, those of several don't."""
        limiter = make_limiter(cluster.url, 1)
        together = [each for each in map(str, range(200)) if "{3}" in _keys([each])[0]]

        answers = await limiter.allow_many([*together, *together])

        assert sum(answer.allowed for answer in answers) == len(together) > 1
        await self._refuses(limiter, "Redis is a cluster")

    @pytest.fixture
    def cluster(self, own_redis: OwnRedis) -> Iterator[OwnRedis]:
        """Give a cluster of one server; it needs the port 10,000 above its own, too."""
        port = next(port for port in iter(free_port, None) if port < 55_000)
        cluster = OwnRedis(own_redis.server, options=("--cluster-enabled", "yes"), port=port)
        cluster.start()
        with redis.Redis.from_url(cluster.url) as client:
            client.execute_command("CLUSTER ADDSLOTS", *range(16_384))
            while client.cluster("info")["cluster_state"] != "ok":
                time.sleep(0.05)
        yield cluster
        cluster.stop()

    @staticmethod
    async def _refuses(limiter: RedisLimiter, message: str) -> None:
        with capture_logs() as logs:
            for call in (limiter.allow_many(["ann", "bob"]), limiter.check()):
                with pytest.raises(LimiterUnavailableError, match=message) as caught:
                    await call
                assert PASSWORD not in str(caught.value)
        assert [line["event"] for line in logs] == ["limiter_out_of_reach"]
        assert PASSWORD not in str(logs)


async def test_a_cancelled_call_leaves_no_answer_for_the_next(
    own_redis: OwnRedis, make_limiter: Make
) -> None:
    limiter = make_limiter(own_redis.url, 2)
    await limiter.allow_many(["ann"])
    own_redis.freeze()
    calls = [asyncio.create_task(limiter.allow_many(["bob", "cy"])) for _ in range(6)]
    await asyncio.sleep(0.1)

    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    own_redis.thaw()

    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert [answer.remaining for answer in await limiter.allow_many(["ann"])] == [0]


async def test_calls_cancelled_at_any_moment_harm_no_other(redis_database: str, make_limiter: Make) -> None:
    limiter = make_limiter(redis_database, 10_000_000)
    chance = random.Random(4711)
    for _ in range(150):
        call = asyncio.create_task(limiter.allow_many(["bob"] * 3 + ["cy"]))
        await asyncio.sleep(chance.random() * 0.002)
        call.cancel()
        answers = await limiter.allow_many(["ann", "bob", "ann"])
        assert answers[0].remaining - answers[2].remaining == 1

    assert (await limiter.allow_many(["ann"]))[0].remaining == 10_000_000 - 301


async def test_a_call_whose_answer_was_lost_is_not_repeated(own_redis: OwnRedis, make_limiter: Make) -> None:
    """It may have counted: once is what the window forgets, more would be the limiter's doing."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand between both and hang up instead of handing the script's answer over."""
        from_server, to_server = await asyncio.open_connection("127.0.0.1", own_redis.port)
        while asked := await reader.read(65_536):
            to_server.write(asked)
            if (answer := await from_server.read(65_536)).startswith(b"*"):
                break
            writer.write(answer)
        writer.close()
        to_server.close()

    direct = make_limiter(own_redis.url, 10)
    await direct.allow_many(["ann"])
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        await failing(make_limiter(f"redis://127.0.0.1:{port}", 10))

    assert (await direct.allow_many(["ann"]))[0].remaining == 7


async def test_closing_does_not_wait_for_a_server_that_hangs(own_redis: OwnRedis) -> None:
    async with RedisLimiter(own_redis.url, 2) as limiter:
        await limiter.allow_many(["ann"])
        own_redis.freeze()
        await failing(limiter)
        began = time.monotonic()

    assert time.monotonic() - began < 1
