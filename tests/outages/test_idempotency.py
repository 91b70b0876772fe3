"""The same request many times, at several processes and across a crash: one notification, equal answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from tests.e2e.caller import Caller
from tests.outages.postgres import OwnPostgres
from tests.outages.stand import Stand, a_stand, an_email, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.postgres]

USER = "ann"
AT_ONCE = 100
LIMIT = 1_000
FLAT = {"channel": "sms", "recipient": "+4915112345678", "body": "hello"}
REQUESTS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "single": ("/v1/notifications", an_email(user=USER), 202, 1),
    "bulk": ("/v1/notifications/bulk", {"notifications": [an_email(user=USER)] * 3}, 202, 3),
    "flat": ("/notifications", FLAT, 201, 1),
}
"""Path, body, the status of success, and how many notifications it makes."""


@dataclass(frozen=True)
class Raw:
    """An answer to the byte."""

    status: int
    body: bytes
    replayed: bool
    remaining: int | None

    @classmethod
    async def of(cls, caller: Caller, path: str, document: Any, key: str) -> "Raw":
        """POST and read."""
        url, headers = f"{caller.url}{path}", {"Idempotency-Key": key}
        async with caller.session.post(url, json=document, headers=headers) as answer:
            remaining = answer.headers.get("RateLimit-Remaining")
            return cls(
                answer.status,
                await answer.read(),
                answer.headers.get("Idempotency-Replayed") == "true",
                int(remaining) if remaining else None,
            )


@pytest.fixture
async def stand(own_postgres: OwnPostgres, redis_database: str, tmp_path: Path) -> AsyncIterator[Stand]:
    """Nothing runs yet; everything shares one database and one limiter."""
    settings = {
        "NS_DATABASE_URL": own_postgres.database(),
        "NS_REDIS_URL": redis_database,
        "NS_RATE_LIMIT_PER_HOUR": str(LIMIT),
    }
    async with a_stand(tmp_path, **settings) as stand:
        yield stand


async def test_a_hundred_equal_requests_at_two_processes_are_one(stand: Stand) -> None:
    """Each kind of request: stored once, counted once, and answered alike to the byte."""
    ours, theirs = await asyncio.gather(stand.start("app"), stand.start("app"))
    async with (
        stand.calling(ours, user=USER, role="user") as here,
        stand.calling(theirs, user=USER, role="user") as there,
    ):
        counted = 0
        for path, document, status, size in REQUESTS.values():
            key = uuid4().hex
            raced = [Raw.of((here, there)[n % 2], path, document, key) for n in range(AT_ONCE)]
            answers = await asyncio.gather(*raced)
            other = await Raw.of(there, path, document | {"body": "other"}, key)
            asked = await Raw.of(here, "/v1/notifications", an_email(user=USER), uuid4().hex)
            counted += size + 1

            assert {each.status for each in answers} == {status}
            assert len({each.body for each in answers}) == 1
            assert Counter(each.replayed for each in answers) == {True: AT_ONCE - 1, False: 1}
            assert other.status == 422
            assert asked.remaining == LIMIT - counted
            assert len(await here.everything("/v1/notifications")) == counted


async def test_equal_requests_that_fill_the_limit_are_one(stand: Stand) -> None:
    """At two processes, each of which asks the limiter: nobody hears of a limit that its twins used up."""
    path, document, status, size = REQUESTS["bulk"]
    few = {"NS_RATE_LIMIT_PER_HOUR": str(size)}
    ours, theirs = await asyncio.gather(stand.start("app", **few), stand.start("app", **few))
    async with (
        stand.calling(ours, user=USER, role="user") as here,
        stand.calling(theirs, user=USER, role="user") as there,
    ):
        raced = [Raw.of((here, there)[n % 2], path, document, "one") for n in range(AT_ONCE)]
        answers = await asyncio.gather(*raced)

        assert {each.status for each in answers} == {status}
        assert len({each.body for each in answers}) == 1
        assert Counter(each.replayed for each in answers) == {True: AT_ONCE - 1, False: 1}
        assert len(await here.everything("/v1/notifications")) == size


async def test_a_process_that_dies_between_commit_and_answer_leaves_the_answer_to_the_others(
    stand: Stand,
) -> None:
    """The caller, cut off, repeats elsewhere, and hears what the first one was about to say."""
    dying, living = await asyncio.gather(
        asyncio.gather(*(stand.start("app", plant="stands-still-after-the-commit") for _ in REQUESTS)),
        stand.start("app"),
    )
    database = await asyncpg.connect(stand.settings["NS_DATABASE_URL"])
    async with stand.calling(living, user=USER, role="user") as there:
        stored = 0
        for process, request in zip(dying, REQUESTS.values(), strict=True):
            path, document, status, size = request
            key = uuid4().hex
            stored += size
            async with stand.calling(process, user=USER, role="user") as here:
                cut_off = asyncio.create_task(Raw.of(here, path, document, key))
                await until(lambda wanted=stored: _has(database, wanted), "not stored")  # type: ignore[misc]
                process.kill()
                with pytest.raises(aiohttp.ClientConnectionError):
                    await cut_off
            first, second = [await Raw.of(there, path, document, key) for _ in range(2)]

            assert (first.status, first.replayed) == (status, True)
            assert first == second
            ids = {each["id"] for each in await there.everything("/v1/notifications")}
            assert len(ids) == stored
            assert any(each.encode() in first.body for each in ids)
    await database.close()


async def test_a_key_past_its_time_is_forgotten_and_removed_in_batches(stand: Stand) -> None:
    short = {"NS_IDEMPOTENCY_TTL_SECONDS": "2", "NS_SWEEP_INTERVAL_SECONDS": "0.5"}
    app = await stand.start("app", **short)
    path, document, *_ = REQUESTS["single"]
    database = await asyncpg.connect(stand.settings["NS_DATABASE_URL"])
    await database.execute(
        "INSERT INTO idempotency_keys SELECT 'ann', 'old-' || n, '', 202, '', now() - interval '1 second'"
        " FROM generate_series(1, 1700) AS n"
    )
    async with stand.calling(app, user=USER, role="user") as caller:
        first = await Raw.of(caller, path, document, "again")
        again = await Raw.of(caller, path, document, "again")
        assert await database.fetchval("SELECT count(*) FROM idempotency_keys") == 1701
        await asyncio.gather(stand.start("worker", **short))
        await until(lambda: _holds_keys(database, 0), "not removed")
        anew = await Raw.of(caller, path, document, "again")
    await database.close()

    assert first.body == again.body != anew.body
    assert not anew.replayed


async def _has(database: asyncpg.Connection, wanted: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) FROM notifications") == wanted)


async def _holds_keys(database: asyncpg.Connection, wanted: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) FROM idempotency_keys") == wanted)
