"""A backup of a live database, restored beside an empty broker: everything it knew of moves on."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.processes import ServiceProcess
from tests.e2e.sink import webhook_sink, within
from tests.outages.postgres import OwnPostgres
from tests.outages.stand import a_stand, until, until_ready
from tests.outages.traffic import Traffic
from tests.services.kafka import OwnKafka

pytestmark = [pytest.mark.timeout(200), pytest.mark.postgres, pytest.mark.kafka]

SLOW_WORK = {"NS_WORKER_CONCURRENCY": "4"}
SOON = {"NS_QUEUED_TIMEOUT_SECONDS": "2", "NS_LEASE_SECONDS": "12"}


async def test_a_backup_under_load_starts_again_beside_an_empty_broker(
    own_postgres: OwnPostgres, own_kafka: OwnKafka, tmp_path: Path
) -> None:
    """What was accepted before it arrives; repeated is only what was sent after it; keys hold."""
    settings = {
        "NS_DATABASE_URL": own_postgres.database(),
        "NS_BROKER": "kafka",
        "NS_KAFKA_BOOTSTRAP": own_kafka.bootstrap,
    }
    dump = tmp_path / "backup"
    async with a_stand(tmp_path, **settings, **SOON) as stand, webhook_sink(delay=within(0.1, 0.2)) as sink:
        app, _ = await asyncio.gather(stand.start("app"), stand.start("worker", **SLOW_WORK))
        async with stand.calling(app) as caller:
            before = Traffic([caller], sink.url)
            async with before.flowing(callers=10):
                await until(lambda: len(before.accepted) > 150, "nothing accepted")
                promised = dict(before.accepted)
                await asyncio.to_thread(_dump, own_postgres, settings["NS_DATABASE_URL"], dump)
                await until(lambda: len(before.accepted) > len(promised) + 50, "nothing accepted")
        _kill(stand.processes)

        restored = own_postgres.database()
        _restore(own_postgres, dump, restored)
        await asyncio.to_thread(own_kafka.wipe)
        await asyncio.to_thread(own_kafka.start)
        known = await _known(restored)
        app, _ = await asyncio.gather(
            stand.start("app", NS_DATABASE_URL=restored), stand.start("worker", NS_DATABASE_URL=restored)
        )
        await until_ready(app)
        async with stand.calling(app) as caller:
            after = Traffic([caller], sink.url)
            key, name = next(iter(promised.items()))
            repeated = await after.ask(caller, key)
            await until(lambda: set(sink.arrivals) >= set(known), "not delivered", seconds=60)
            await until(lambda: _settled(restored), "not settled", seconds=30)

        unsent = {name for name, status in known.items() if status not in {"sent", "delivered"}}
        twice = {name for name, count in sink.arrivals.items() if count > 1}
        assert set(promised.values()) <= set(known)
        assert unsent
        assert repeated.answer.document["id"] == name
        assert repeated.answer.headers["idempotency-replayed"] == "true"
        assert twice <= unsent
        assert max(sink.arrivals.values()) <= 2


def _dump(server: OwnPostgres, url: str, path: Path) -> None:
    command: list[str | Path] = [server.program("pg_dump"), "--format=custom", f"--file={path}", url]
    subprocess.run(command, check=True)


def _restore(server: OwnPostgres, path: Path, url: str) -> None:
    command: list[str | Path] = [server.program("pg_restore"), "--exit-on-error", f"--dbname={url}", path]
    subprocess.run(command, check=True)


def _kill(processes: list[ServiceProcess]) -> None:
    for process in processes:
        process.kill()


async def _known(url: str) -> dict[str, str]:
    """Every notification of a database and its state."""
    database = await asyncpg.connect(url)
    rows = await database.fetch("SELECT id::text AS id, status FROM notifications")
    await database.close()
    return {row["id"]: row["status"] for row in rows}


async def _settled(url: str) -> bool:
    return set((await _known(url)).values()) == {"sent"}
