"""PostgreSQL missing, lost, hanging, cut off, read-only and full."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.chaos.proxy import Mode
from tests.e2e.processes import is_healthy
from tests.outages.postgres import OwnPostgres
from tests.outages.site import ANSWER_SECONDS, READY_SECONDS, a_site, repeating
from tests.outages.stand import (
    a_proxy,
    a_stand,
    events,
    lines,
    readiness,
    until,
    until_ready,
)
from tests.outages.traffic import Traffic

pytestmark = [pytest.mark.timeout(200), pytest.mark.postgres]

FROZEN_SECONDS = 13.0
"""More than any request may take."""
CUTS = 12


async def test_without_a_database_the_processes_start_and_say_what_they_wait_for(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    url = own_postgres.database()
    own_postgres.kill()
    async with a_stand(tmp_path, NS_DATABASE_URL=url) as stand, a_site(stand, waits=False) as site:
        refusal = await site.traffic.ask()
        seen = await readiness(site.app)
        for process in (site.app, site.worker):
            await until(lambda log=process: "waiting_for_database" in events(log), "not said")  # type: ignore[misc]
        own_postgres.start()
        await until_ready(site.app)
        await site.traffic.one()
        await site.delivered()

        answer = refusal.answer
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.document["code"] == "store_unavailable"
        assert (seen.code, seen.status, list(seen.missing())) == (503, "unready", ["database"])
        assert "NS_DATABASE_URL" in lines(site.app, "waiting_for_database")[0]["remedy"]


async def test_a_database_that_was_killed_is_used_again_as_soon_as_it_is_back(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    async with a_stand(tmp_path, NS_DATABASE_URL=own_postgres.database()) as stand, a_site(stand) as site:
        async with site.traffic.flowing():
            await site.begun()
            own_postgres.kill()
            seen = await readiness(site.app)
            await until(lambda: len(site.traffic.refusals()) > 20, "nothing refused")
            alive = await is_healthy(site.app.url)
            await asyncio.to_thread(own_postgres.start)
            await until_ready(site.app)
        await site.delivered()

        assert alive
        assert (seen.code, list(seen.missing())) == (503, ["database"])
        assert site.traffic.slowest < ANSWER_SECONDS


async def test_a_database_that_hangs_holds_nobody_beyond_the_deadline(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    """Neither who sends nor who reads nor who asks for its health; while nothing moves, new ones at once."""
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(a_stand(tmp_path, NS_DATABASE_URL=own_postgres.database()))
        site = await stack.enter_async_context(a_site(stand))
        async with site.traffic.flowing():
            await site.begun()
            async with (
                repeating(lambda: readiness(site.app), every=0.2) as looks,
                repeating(lambda: site.caller.get("/v1/notifications"), every=0.1) as reads,
            ):
                own_postgres.freeze()
                await asyncio.sleep(4)
                late = Traffic([site.caller], site.sink.url)
                refusal = await late.ask()
                await asyncio.sleep(FROZEN_SECONDS - 4)
                own_postgres.thaw()
                await until_ready(site.app)
        await site.delivered()

        assert refusal.answer.document["code"] == "overloaded"
        assert refusal.seconds < 0.5
        assert max(looks) < READY_SECONDS
        assert max(reads) < ANSWER_SECONDS
        assert site.traffic.slowest < ANSWER_SECONDS
        assert site.traffic.refusals()


async def test_connections_cut_in_the_middle_of_transactions_double_nothing(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    """Nobody knows whether a commit that was cut off took place; the key does."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(a_proxy(own_postgres.port))
        url = own_postgres.database(proxy.port)
        stand = await stack.enter_async_context(a_stand(tmp_path, NS_DATABASE_URL=url))
        site = await stack.enter_async_context(a_site(stand))
        async with site.traffic.flowing(callers=40):
            await site.begun()
            for _ in range(CUTS):
                await proxy.turn(Mode.CUT)
                await asyncio.sleep(0.15)
            await until_ready(site.app)
        stored = await site.caller.everything("/v1/notifications")
        await site.delivered()

        assert {each["id"] for each in stored} == set(site.traffic.accepted.values())
        assert site.traffic.refusals()


async def test_a_database_that_only_reads_refuses_and_is_used_again_when_it_writes(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    async with a_stand(tmp_path, NS_DATABASE_URL=own_postgres.database()) as stand, a_site(stand) as site:
        async with site.traffic.flowing():
            await site.begun()
            own_postgres.execute(
                "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
            )
            await until(lambda: len(site.traffic.refusals()) > 50, "nothing refused")
            read = await site.caller.get("/v1/notifications")
            own_postgres.execute(
                "SET default_transaction_read_only = off",
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            )
        await site.delivered()

        assert read.status == 200
        assert {each.answer.document["code"] for each in site.traffic.refusals()} == {"store_unavailable"}
        assert site.traffic.slowest < ANSWER_SECONDS


async def test_after_a_fail_over_old_connections_that_lead_to_a_standby_are_left(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    """The sessions that are open stay read-only for good, as those of a primary that became a standby."""
    url = own_postgres.database()
    name = urlsplit(url).path[1:]
    async with a_stand(tmp_path, NS_DATABASE_URL=url) as stand, a_site(stand) as site:
        async with site.traffic.flowing():
            await site.begun()
            own_postgres.execute(
                f'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            )
            await until(lambda: len(site.traffic.refusals()) > 50, "nothing refused")
            own_postgres.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await site.delivered()


async def test_a_database_without_free_connections_refuses_and_is_used_again(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    """Others took them all, ours too, as after a restart of the database."""
    url = own_postgres.database()
    name = urlsplit(url).path[1:]
    async with a_stand(tmp_path, NS_DATABASE_URL=url) as stand, a_site(stand) as site:
        async with site.traffic.flowing():
            await site.begun()
            greedy = await taking_all_connections(own_postgres.url, name)
            await until(lambda: len(site.traffic.refusals()) > 20, "nothing refused")
            seen = await readiness(site.app)
            for connection in greedy:
                await connection.close()
            await until_ready(site.app)
        await site.delivered()

        assert (seen.code, list(seen.missing())) == (503, ["database"])
        assert site.traffic.slowest < ANSWER_SECONDS


async def taking_all_connections(url: str, name: str) -> list[asyncpg.Connection]:
    """Connect until the server takes no more, ending the sessions of database `name` again and again."""
    greedy = [await asyncpg.connect(url)]
    while True:
        await greedy[0].execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        try:
            greedy.append(await asyncpg.connect(url))
        except asyncpg.TooManyConnectionsError:
            if not await greedy[0].fetchval(
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
            ):
                return greedy
