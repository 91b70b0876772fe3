"""A worker with 100,000 due notifications and no receiver for them: flat memory, and the others move on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.outages.postgres import OwnPostgres
from tests.outages.stand import a_stand, an_email, until

pytestmark = [pytest.mark.timeout(200), pytest.mark.postgres]

DUE = 100_000
EMAILS = 300
MEGABYTE = 2**20
MOST_GROWTH = 30 * MEGABYTE
LOOKS = 20

FILL = """
INSERT INTO notifications (id, user_id, channel_type, channel_data, body, metadata, status, priority,
  created_at, due_at, request_id, correlation_id)
SELECT gen_random_uuid(), 'user-' || n % 500, 'webhook',
  jsonb_build_object('type', 'webhook', 'url',
    'http://127.0.0.1:' || CASE n % 2 WHEN 0 THEN $2::int ELSE $3::int END || '/' || n),
  repeat('text ', 100), '{}', 'queued', 5, now() - interval '1 hour', now() - interval '1 hour', 'r', 'c'
FROM generate_series(1, $1::int) AS n
"""


@asynccontextmanager
async def never_answering() -> AsyncIterator[int]:
    """Take every connection and say nothing; give the port."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()


async def test_a_dead_provider_takes_no_memory_and_no_other_channels_turn(
    own_postgres: OwnPostgres, tmp_path: Path, free_port: int
) -> None:
    """One half of its receivers takes every connection and says nothing, the other takes none."""
    settings = {
        "NS_DATABASE_URL": own_postgres.database(),
        "NS_SEND_TIMEOUT_SECONDS": "3",
        "NS_RETRY_SCHEDULE": "1",
        "NS_MAX_RETRIES": "100",
    }
    async with a_stand(tmp_path, **settings) as stand, never_answering() as silent:
        app = await stand.start("app")
        database = await asyncpg.connect(settings["NS_DATABASE_URL"])
        await database.execute(FILL, DUE, silent, free_port)
        worker = await stand.start("worker")
        await until(lambda: _attempts(database, 64), "it tries nothing")
        before = worker.memory()
        memory = [before]
        async with stand.calling(app) as caller:
            for _ in range(EMAILS // 20):
                await asyncio.gather(
                    *(caller.post("/v1/notifications", an_email(user=f"u{n}")) for n in range(20))
                )
            await until(lambda: _sent(database, EMAILS), "emails wait for webhooks", seconds=10)
        for _ in range(LOOKS):
            memory.append(worker.memory())
            await asyncio.sleep(0.2)
        await database.close()

        assert max(memory) - before < MOST_GROWTH


async def _attempts(database: asyncpg.Connection, wanted: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) FROM attempts") >= wanted)


async def _sent(database: asyncpg.Connection, wanted: int) -> bool:
    query = "SELECT count(*) FROM notifications WHERE channel_type = 'email' AND status = 'sent'"
    return bool(await database.fetchval(query) >= wanted)
