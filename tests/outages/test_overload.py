"""Ten times more than the database can take: quick refusals, flat memory, and what was accepted moves on."""

import asyncio
import statistics
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.e2e.sink import webhook_sink
from tests.outages.postgres import OwnPostgres
from tests.outages.stand import a_stand, until, until_ready
from tests.outages.traffic import Traffic

pytestmark = [pytest.mark.timeout(200), pytest.mark.postgres]

CLIENTS = 2_000
SECONDS = 10.0
REFUSAL_SECONDS = 6.0
"""A quarter of a request's ten seconds, for those who came first, and what a busy machine adds."""
MEGABYTE = 2**20
MOST_GROWTH = 80 * MEGABYTE
"""For so many connections at once, however long it lasts."""
FLAT = 15 * MEGABYTE


async def test_overloaded_it_refuses_quickly_and_delivers_what_it_accepted(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    """2,000 clients who come again as soon as they may; the database takes 100 notifications a second."""
    url = own_postgres.database()
    async with a_stand(tmp_path, NS_DATABASE_URL=url) as stand, webhook_sink() as sink:
        app = await stand.start("app")
        await stand.start("worker")
        await _slow_down(url)
        async with stand.calling(app, connections=CLIENTS) as caller:
            traffic = Traffic([caller], sink.url)
            await asyncio.gather(*(traffic.one() for _ in range(50)))
            before, calm = app.memory(), len(traffic.accepted)
            memory, arrivals = [before], []

            async def client() -> None:
                key = uuid4().hex
                while time.monotonic() < end:
                    told = await traffic.ask(caller, key)
                    if told.answer.status == 202:
                        traffic.accepted[key] = told.answer.document["id"]
                        key = uuid4().hex
                    else:
                        await asyncio.sleep(float(told.answer.headers["retry-after"]))

            end = time.monotonic() + SECONDS
            async with asyncio.TaskGroup() as tasks:
                for _ in range(CLIENTS):
                    tasks.create_task(client())
                while time.monotonic() < end:
                    await asyncio.sleep(0.5)
                    memory.append(app.memory())
                    arrivals.append(len(sink.arrivals))
            await until_ready(app)
            stored = {each["id"] for each in await caller.everything("/v1/notifications")}
            await until(lambda: set(sink.arrivals) >= stored, "not delivered", seconds=40)
            memory.append(app.memory())

        refusals = sorted(each.seconds for each in traffic.refusals())
        p99 = statistics.quantiles(refusals, n=100)[-1]
        assert len(refusals) > 3 * (len(traffic.accepted) - calm) > 500
        assert p99 < REFUSAL_SECONDS
        assert max(memory) - before < MOST_GROWTH
        assert max(memory) - max(memory[: len(memory) // 2]) < FLAT
        assert set(traffic.accepted.values()) <= stored == set(sink.arrivals)
        assert set(sink.arrivals.values()) == {1}
        assert arrivals[-1] > arrivals[len(arrivals) // 2] > calm


async def _slow_down(url: str) -> None:
    """Let each new notification take 10 ms."""
    database = await asyncpg.connect(url)
    await database.execute("""
        CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN PERFORM pg_sleep(0.01); RETURN new; END';
        CREATE TRIGGER slowly BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION slowly();
    """)
    await database.close()
