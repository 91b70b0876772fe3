"""With a million notifications every statement still follows its index, and is quick."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from notification_service.adapters.stores.sql.migrate import upgrade
from notification_service.domain.filters import DeadLetterFilter, NotificationFilter
from notification_service.domain.notification import Status
from tests.services.postgres import PostgresServer
from tests.stores.house import LEASE, House, async_url
from tests.stores.making import new_id, sent

pytestmark = [pytest.mark.timeout(150), pytest.mark.postgres]

ROWS = 1_000_000
LARGE = {"notifications", "attempts", "dead_letters", "idempotency_keys"}
QUICK_SECONDS = 0.5
"""A few milliseconds, and what a busy machine adds; reading a million rows takes longer."""

# Mostly done: 1 % waits, of which a fifth is due and half is for a broker; 0.1 % is being sent; 1 % failed,
# after nine redrives each.
FILL = """
INSERT INTO notifications (id, user_id, channel_type, channel_data, body, metadata, status, priority,
  reference, expires_at, lease_until, epoch, attempts, created_at, due_at, request_id, correlation_id)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user-' || n % 5000, 'email',
  '{"type": "email", "to": "ann@example.com", "subject": "hello"}', 'text', '{}',
  CASE WHEN n % 200 = 0 THEN 'queued' WHEN n % 200 = 2 THEN 'pending' WHEN n % 1000 = 1 THEN 'sending'
    WHEN n % 100 = 3 THEN 'failed' ELSE 'sent' END,
  1 + n % 10, CASE WHEN n % 7 = 0 THEN 'order-' || n END,
  CASE WHEN n % 20 = 0 THEN now() + n % 9 * interval '1 minute' END,
  CASE WHEN n % 1000 = 1 THEN now() - interval '1 minute'
    WHEN n % 400 = 0 THEN now() + n % 60 * interval '1 second' END, 1, 1, now() - interval '1 day',
  CASE WHEN n % 1000 < 200 THEN now() - interval '1 hour' ELSE now() + interval '1 hour' END, 'r', 'c'
FROM generate_series(1, {rows}) AS n;
INSERT INTO attempts (notification_id, epoch, kind, outcome, started_at, finished_at)
SELECT id, 1, 'attempt', 'delivered', created_at, created_at FROM notifications;
INSERT INTO dead_letters (id, notification_id, channel, reason, attempts, dead_at, redriven_at, payload)
SELECT gen_random_uuid(), id, 'email', 'bounced', 1, now() - interval '1 hour',
  CASE WHEN again > 1 THEN now() END, '{}'
FROM notifications, generate_series(1, 10) AS again WHERE status = 'failed';
INSERT INTO idempotency_keys
SELECT 'user-' || n % 5000, 'key-' || n, '', 202, '', now() + (n % 86400 - 60) * interval '1 second'
FROM generate_series(1, 200000) AS n;
"""


@pytest.fixture
async def house(postgres_server: PostgresServer) -> AsyncIterator[House]:
    """A database with a million rows, made once: the indexes come after the rows, which is quicker."""
    with postgres_server.database() as url:
        await upgrade(async_url(url))
        database = await asyncpg.connect(url, command_timeout=120)
        made = await database.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " AND tablename = ANY($1) AND indexname LIKE 'ix_%'",
            list(LARGE),
        )
        for index in made:
            await database.execute(f'DROP INDEX "{index["indexname"]}"')
        await database.execute("SET maintenance_work_mem = '256MB'")
        await database.execute(FILL.replace("{rows}", str(ROWS)))
        for index in made:
            await database.execute(index["indexdef"])
        await database.execute("VACUUM ANALYZE")
        await database.close()
        async with House.open(url) as house:
            yield house


class Explained:
    """Runs calls, notes how long each took, and how its statements were planned."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.seconds: dict[str, float] = {}
        self.whole: dict[str, str] = {}
        """What reads a whole table, and which."""

    async def __call__[Result](self, name: str, call: Callable[[], Awaitable[Result]]) -> Result:
        """Make the call, then explain its statements."""
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        engine = self.house.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        began = time.monotonic()
        result = await call()
        self.seconds[name] = time.monotonic() - began
        event.remove(engine, "before_cursor_execute", note)
        for statement, parameters in asked:
            await self._explain(name, statement, parameters)
        return result

    async def _explain(self, name: str, statement: str, parameters: Any) -> None:
        async with self.house.database.statement() as connection:
            rows = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            told = rows.scalar_one()
        plan = json.loads(told) if isinstance(told, str) else told
        self.whole.update((f"{name}: {table}", statement) for table in _read_whole(plan[0]["Plan"]))


def _read_whole(node: dict[str, Any]) -> list[str]:
    """The large tables that a plan reads from one end to the other."""
    here = [node["Relation Name"]] if node["Node Type"] == "Seq Scan" else []
    below = [table for child in node.get("Plans", []) for table in _read_whole(child)]
    return [table for table in here + below if table in LARGE]


async def test_no_statement_reads_a_whole_table_of_a_million_rows(house: House) -> None:
    """One test, because the table takes a while to fill."""
    store, archive, letters, outbox = house.store, house.archive, house.dead_letters, house.outbox
    explained = Explained(house)
    mine, everything = NotificationFilter(user_id="user-7"), NotificationFilter()
    trust = timedelta(minutes=2)

    claims = await explained("claim", lambda: store.claim("email", limit=64, lease=LEASE))
    taken = await explained("take", lambda: outbox.take(limit=500, hold=timedelta(seconds=15)))
    await explained("mark", lambda: outbox.mark_queued(taken, trust=trust))
    await explained("distrust", lambda: outbox.distrust({"email"}, limit=500))
    await explained("adopt", lambda: outbox.adopt(limit=500))
    ids = [each.id for each in taken[:64]]
    await explained("claim these", lambda: store.claim("email", limit=64, lease=LEASE, ids=ids))
    await explained("settle", lambda: store.settle([sent(each) for each in claims]))
    await explained("lost claims", lambda: store.lost_claims(limit=500))
    await explained("expire", lambda: store.expire(limit=500))
    await explained("forget answers", lambda: store.forget_answers(limit=500))
    await explained("backlog", store.backlog)
    page = await explained("list mine", lambda: archive.find(mine, limit=100))
    await explained("list mine further", lambda: archive.find(mine, limit=100, after=page.rows[-1].id))
    await explained("list all", lambda: archive.find(everything, limit=100))
    deep = await archive.find(everything, limit=1)
    await explained("list all further", lambda: archive.find(everything, limit=100, after=deep.rows[0].id))
    reference = NotificationFilter(reference="order-700")
    await explained("list by reference", lambda: archive.find(reference, limit=100))
    failed = NotificationFilter(user_id="user-3", statuses=frozenset({Status.FAILED}))
    await explained("list mine failed", lambda: archive.find(failed, limit=100))
    await explained("page of mine", lambda: archive.page(mine, number=2, size=20))
    await explained("get", lambda: archive.get(page.rows[0].id))
    await explained("get none", lambda: archive.get(new_id()))
    await explained("history", lambda: archive.history(page.rows[0].id))
    dead = await explained("dead letters", lambda: letters.find(DeadLetterFilter(), limit=100))
    after = dead.rows[-1].id
    await explained("dead letters further", lambda: letters.find(DeadLetterFilter(), limit=100, after=after))
    chosen = [each.id for each in dead.rows[:10]]
    await explained("redrive", lambda: letters.redrive(chosen, by="root", status=Status.QUEUED))
    await explained(
        "redrive matching",
        lambda: letters.redrive_matching(DeadLetterFilter(), by="root", status=Status.QUEUED, limit=100),
    )

    assert len(claims) == 64
    assert len(taken) == 500
    assert list(explained.whole) == []
    assert {name: took for name, took in explained.seconds.items() if took > QUICK_SECONDS} == {}
