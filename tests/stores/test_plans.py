"""What the hot path asks for is found by an index, however many notifications there are."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from notification_service.domain.filters import NotificationFilter
from notification_service.domain.notification import Status
from tests.stores.house import LEASE, House
from tests.stores.making import a_notification, new_id, sent

ROWS = 50_000

# Mostly done, as a table is after a while: 1,000 wait, of which 200 are due, and 100 are being sent.
LOAD = """
INSERT INTO notifications (id, user_id, channel_type, channel_data, body, metadata, status, priority,
  reference, expires_at, lease_until, epoch, created_at, due_at, request_id, correlation_id)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user-' || n % 500, 'email',
  '{"type": "email"}', 'text', '{}',
  CASE WHEN n % 50 = 0 THEN 'queued' WHEN n % 500 = 1 THEN 'sending' ELSE 'sent' END, 1 + n % 10,
  CASE WHEN n % 7 = 0 THEN 'order-' || n END,
  CASE WHEN n % 20 = 0 THEN now() + n % 9 * interval '1 minute' END,
  CASE WHEN n % 500 = 1 THEN now() - interval '1 minute' END, 1, now() - interval '1 day',
  CASE WHEN n % 250 = 0 THEN now() - interval '1 hour' ELSE now() + interval '1 hour' END, 'r', 'c'
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


class Plans:
    """Explains each statement that runs on a house's connections, as it runs."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._statements: list[tuple[str, Any]] = []

    def __enter__(self) -> "Plans":
        event.listen(self._house.database.engine.sync_engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._house.database.engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "notifications" in statement:
            self._statements.append((statement, parameters))

    async def scans(self) -> list[tuple[str, str | None]]:
        """Each look at `notifications`: the kind of it and the index it used."""
        found = []
        async with self._house.database.statement() as connection:
            for statement, parameters in self._statements:
                rows = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                told = rows.scalar_one()
                plan = json.loads(told) if isinstance(told, str) else told
                found += list(scans_of(plan[0]["Plan"]))
        return found


def scans_of(node: dict[str, Any]) -> list[tuple[str, str | None]]:
    kind, here = node["Node Type"], []
    is_ours = node.get("Relation Name") == "notifications" or kind == "Bitmap Index Scan"
    if is_ours and kind.endswith("Scan") and kind != "Bitmap Heap Scan":
        here = [(kind, node.get("Index Name"))]
    return here + [scan for child in node.get("Plans", []) for scan in scans_of(child)]


async def test_every_hot_statement_uses_its_index_and_never_reads_the_whole_table(house: House) -> None:
    """One test, because the table is large."""
    now = datetime.now(UTC)
    used: dict[str, set[str | None]] = {}
    kinds: set[str] = set()

    async def explain(name: str, call: Any) -> None:
        with Plans(house) as plans:
            await call
        scans = await plans.scans()
        assert scans, name
        used[name] = {index for _, index in scans}
        kinds.update(f"{name}: {kind}" for kind, _ in scans)

    [claim, *_] = await house.claim(limit=64)
    ids = [new_id() for _ in range(64)]
    first = await house.archive.find(NotificationFilter(user_id="user-7"), limit=20)
    await explain("claim", house.claim(limit=64))
    await explain("claim these", house.store.claim("email", limit=64, lease=LEASE, ids=ids))
    await explain("settle", house.store.settle([sent(claim)]))
    await explain("lost claims", house.store.lost_claims(limit=500))
    await explain("expire", house.store.expire(limit=500))
    await explain("get", house.archive.get(claim.notification.id))
    await explain("cancel", house.archive.cancel(claim.notification.id))
    by_user = NotificationFilter(user_id="user-7")
    await explain("list by user", house.archive.find(by_user, limit=20, after=first.rows[-1].id))
    await explain("list all", house.archive.find(NotificationFilter(), limit=20, after=first.rows[-1].id))
    reference = NotificationFilter(reference="order-49")
    await explain("list by reference", house.archive.find(reference, limit=20))
    recent = NotificationFilter(user_id="user-7", created_after=now - timedelta(days=2))
    await explain("list since", house.archive.find(recent, limit=20))
    await explain("page by user", house.archive.page(by_user, number=3, size=20))
    of_status = NotificationFilter(user_id="user-7", statuses=frozenset({Status.SENT}))
    await explain("backlog", house.store.backlog())
    await explain("page by user and status", house.archive.page(of_status, number=2, size=20))

    due, key, user = "ix_notifications_due", "pk_notifications", "ix_notifications_user"
    assert not {kind for kind in kinds if "Seq Scan" in kind}
    assert due in used.pop("claim")
    assert key in used.pop("claim these") <= {key, due}
    assert used.pop("list since") <= {user, key}
    assert used.pop("list by user") == {user}
    assert user in used.pop("page by user") <= {user, key}
    assert user in used.pop("page by user and status") <= {user, key}
    used.pop("backlog")
    assert used == {
        "settle": {key},
        "lost claims": {"ix_notifications_lease"},
        "expire": {"ix_notifications_expiry", key},
        "get": {key},
        "cancel": {key},
        "list all": {key},
        "list by reference": {"ix_notifications_reference"},
    }


async def test_sqlite_finds_everything_by_an_index_too(sqlite_url: str) -> None:
    """A partial index counts only for a query with the index's own words."""
    async with House.open(sqlite_url) as house:
        await house.add(a_notification(), a_notification(expires_at=house.store.now()))
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

        for each in (house.database.engine, house.database._writer):
            event.listen(each.sync_engine, "before_cursor_execute", note)
        [claim] = await house.claim()
        await house.store.claim("email", limit=5, lease=LEASE, ids=[new_id()])
        await house.store.settle([sent(claim)])
        await house.store.lost_claims(limit=5)
        await house.store.expire(limit=5)
        await house.store.backlog()
        await house.store.forget_answers(limit=5)
        await house.archive.find(NotificationFilter(user_id="ann"), limit=5)
        await house.archive.find(NotificationFilter(reference="order-7"), limit=5)
        await house.archive.page(NotificationFilter(user_id="ann"), number=1, size=5)
        await house.archive.cancel(claim.notification.id)

        told = []
        async with house.database.statement() as connection:
            for statement, parameters in [each for each in asked if "WHERE" in each[0]]:
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                told += [str(row[3]) for row in rows]
        assert len(told) > 12
        assert not [line for line in told if "SCAN" in line and "INDEX" not in line]
        assert not [line for line in told if "TEMP B-TREE" in line]
