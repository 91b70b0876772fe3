"""PostgreSQL missing, lost, hanging, cut off, read-only and full."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.chaos.proxy import Mode
from tests.e2e.caller import Caller
from tests.e2e.processes import ServiceProcess, is_healthy
from tests.e2e.sink import Sink, webhook_sink
from tests.outages.postgres import OwnPostgres
from tests.outages.stand import (
    Proxied,
    Readiness,
    Stand,
    a_proxy,
    a_stand,
    a_webhook,
    events,
    lines,
    readiness,
    until,
    until_ready,
)
from tests.outages.traffic import Traffic

pytestmark = [pytest.mark.timeout(90), pytest.mark.postgres]

ANSWER_SECONDS = 11.5
"""Ten for the work, one for the broker, and what a busy machine adds."""
READY_SECONDS = 3.5
"""Two for each look, all at the same time."""
FROZEN_SECONDS = 15.0
"""More than any request may take."""


async def _arrived(sink: Sink, traffic: Traffic) -> None:
    """Everything that was promised arrives, each once."""
    wanted = set(traffic.accepted.values())
    assert len(wanted) == len(traffic.accepted)
    await until(
        lambda: wanted <= set(sink.arrivals), "not delivered", told=lambda: len(wanted - set(sink.arrivals))
    )
    assert set(sink.arrivals) == wanted
    assert set(sink.arrivals.values()) == {1}


@asynccontextmanager
async def _site(stand: Stand) -> AsyncIterator[tuple[ServiceProcess, Caller, Sink, Traffic]]:
    app, _ = await asyncio.gather(stand.start("app"), stand.start("worker"))
    async with webhook_sink() as sink, stand.calling(app) as caller:
        yield app, caller, sink, Traffic([caller], sink.url)


async def test_without_a_database_the_processes_start_and_say_what_they_wait_for(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    url = own_postgres.database()
    own_postgres.kill()
    async with a_stand(tmp_path, NS_DATABASE_URL=url) as stand, webhook_sink() as sink:
        app, worker = stand.launch("app"), stand.launch("worker")
        await asyncio.gather(app.answers(), worker.answers())
        async with stand.calling(app) as caller:
            answer = await caller.post("/v1/notifications", a_webhook(sink.url))
            seen = await readiness(app)
            for process in (app, worker):
                await until(lambda: "waiting_for_database" in events(process), "not said")
            own_postgres.start()
            await until_ready(app)
            traffic = Traffic([caller], sink.url)
            await traffic.one()
            await _arrived(sink, traffic)

        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.document["code"] == "store_unavailable"
        assert (seen.code, seen.status, list(seen.missing())) == (503, "unready", ["database"])
        line = lines(app, "waiting_for_database")[0]
        assert "NS_DATABASE_URL" in line["remedy"]


async def test_a_database_that_was_killed_is_used_again_as_soon_as_it_is_back(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    async with a_stand(tmp_path, NS_DATABASE_URL=own_postgres.database()) as stand, _site(stand) as site:
        app, _, sink, traffic = site
        async with traffic.flowing():
            await until(lambda: len(traffic.accepted) > 100, "nothing accepted")
            own_postgres.kill()
            seen = await readiness(app)
            await until(lambda: len(traffic.refusals()) > 20, "nothing refused")
            alive = await is_healthy(app.url)
            await asyncio.to_thread(own_postgres.start)
            await until_ready(app)
        await _arrived(sink, traffic)

        assert alive
        assert (seen.code, list(seen.missing())) == (503, ["database"])
        assert traffic.slowest < ANSWER_SECONDS


async def test_a_database_that_hangs_holds_nobody_beyond_the_deadline(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    async with a_stand(tmp_path, NS_DATABASE_URL=own_postgres.database()) as stand, _site(stand) as site:
        app, caller, sink, traffic = site
        looks: list[Readiness] = []
        reads: list[float] = []

        async def look() -> None:
            while True:
                looks.append(await readiness(app))
                await asyncio.sleep(0.2)

        async def read() -> None:
            while True:
                began = time.monotonic()
                await caller.get("/v1/notifications")
                reads.append(time.monotonic() - began)
                await asyncio.sleep(0.05)

        async with traffic.flowing():
            await until(lambda: len(traffic.accepted) > 100, "nothing accepted")
            looking, reading = asyncio.create_task(look()), asyncio.create_task(read())
            await until(lambda: len(reads) > 0, "nothing read")
            own_postgres.freeze()
            await asyncio.sleep(FROZEN_SECONDS)
            own_postgres.thaw()
            await until_ready(app)
            await until(lambda: max(reads) > 1, "no read")
            for task in (looking, reading):
                task.cancel()
        await _arrived(sink, traffic)

        print(
            traffic.statuses(),
            "slowest",
            traffic.slowest,
            "look",
            max(each.seconds for each in looks),
            "reads",
            max(reads),
        )
        took = sorted(each.seconds for each in traffic.refusals())
        print("refusals", len(took), took[len(took) // 2], took[-1])
        assert max(each.seconds for each in looks) < READY_SECONDS
        assert max(reads) < ANSWER_SECONDS
        assert traffic.slowest < ANSWER_SECONDS
