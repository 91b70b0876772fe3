"""What relays ask for is found by an index, however much waits: queued, scheduled, held or done."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, text

from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.notification import Status
from tests.stores.house import AN_HOUR, House
from tests.stores.making import a_notification
from tests.stores.test_plans import Plans

ROWS = 60_000
BATCH = 500

# A broker's long backlog, mostly trusted; many scheduled; a few due, some of them held; the rest is done.
LOAD = """
INSERT INTO notifications (id, user_id, channel_type, channel_data, body, metadata, status, priority,
  lease_until, created_at, due_at, request_id, correlation_id)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'ann',
  CASE n % 2 WHEN 0 THEN 'email' ELSE 'sms' END, '{"type": "email"}', 'text', '{}',
  CASE WHEN n % 3 = 0 THEN 'queued' WHEN n % 3 = 1 THEN 'pending' ELSE 'sent' END, 1 + n % 10,
  CASE WHEN n % 3 = 0 THEN now() + interval '1 minute' - n % 50 / 49 * interval '2 minutes'
       WHEN n % 300 = 1 THEN now() + interval '10 seconds' END,
  now() - interval '1 day',
  CASE WHEN n % 30 = 1 THEN now() - interval '1 hour' ELSE now() + interval '1 hour' END, 'r', 'c'
FROM generate_series(1, :rows) AS n
"""


@pytest.fixture
async def house(postgres_url: str) -> AsyncIterator[House]:
    async with House.open(postgres_url) as house:
        async with house.database.transaction() as connection:
            await connection.execute(text(LOAD), {"rows": ROWS})
        async with house.database.statement() as connection:
            await connection.execute(text("VACUUM ANALYZE notifications"))
        yield house
        async with house.database.statement() as connection:
            await connection.execute(text("TRUNCATE notifications, attempts"))
            await connection.execute(text("VACUUM ANALYZE notifications"))


async def test_relays_never_read_the_whole_table(house: House) -> None:
    """One test, because the table is large."""
    used: dict[str, set[str | None]] = {}
    kinds: set[str] = set()

    async def explain(name: str, call: Any) -> Any:
        with Plans(house) as plans:
            result = await call
        scans = await plans.scans()
        used[name] = {index for _, index in scans}
        kinds.update(f"{name}: {kind}" for kind, _ in scans)
        return result

    taken = await explain("take", house.outbox.take(limit=BATCH, hold=AN_HOUR))
    assert len(taken) == BATCH
    await explain("mark", house.outbox.mark_queued(taken[:250], trust=AN_HOUR))
    await explain("release", house.outbox.release(taken[250:]))
    assert await explain("distrust", house.outbox.distrust(CHANNEL_TYPES, limit=BATCH)) > 0
    assert await explain("distrust one", house.outbox.distrust(["sms"], limit=BATCH)) == 0
    assert await explain("adopt", house.outbox.adopt(limit=BATCH)) == 0

    key, unpublished, trust = "pk_notifications", "ix_notifications_unpublished", "ix_notifications_trust"
    assert not {kind for kind in kinds if "Seq Scan" in kind}
    assert used == {
        "take": {key, unpublished},
        "mark": {key},
        "release": {key},
        "distrust": {key, trust},
        "distrust one": {key, trust},
        "adopt": {key, "ix_notifications_due"},
    }


async def test_a_table_that_has_never_been_looked_at_is_no_exception(postgres_url: str) -> None:
    """Without statistics the databases guess; a LIMIT that a join repeats would be no limit."""
    async with House.open(postgres_url) as house:
        await house.add(*(a_notification(status=Status.PENDING) for _ in range(50)))

        taken = [await house.outbox.take(limit=7, hold=AN_HOUR) for _ in range(3)]
        await house.outbox.mark_queued(taken[0], trust=-AN_HOUR)

        assert [len(each) for each in taken] == [7, 7, 7]
        assert [await house.outbox.distrust(["email"], limit=3) for _ in range(4)] == [3, 3, 1, 0]


async def test_sqlite_finds_everything_by_an_index_too(sqlite_url: str) -> None:
    async with House.open(sqlite_url) as house:
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        await house.add(a_notification(status=Status.PENDING), a_notification(status=Status.PENDING))
        for each in (house.database.engine, house.database._writer):
            event.listen(each.sync_engine, "before_cursor_execute", note)
        taken = await house.outbox.take(limit=5, hold=AN_HOUR)
        await house.outbox.mark_queued(taken, trust=AN_HOUR)
        await house.outbox.release(taken)
        await house.outbox.distrust(["email", "sms"], limit=5)
        await house.outbox.adopt(limit=5)

        told = []
        async with house.database.statement() as connection:
            for statement, parameters in [each for each in asked if "WHERE" in each[0]]:
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                told += [str(tuple(row)[3]) for row in rows]
        assert len(told) > 8
        assert not [line for line in told if "SCAN" in line and "INDEX" not in line]
        assert not [line for line in told if "TEMP B-TREE" in line]
