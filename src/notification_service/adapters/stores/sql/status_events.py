"""The table of status events, which a trigger fills on PostgreSQL while `NS_STATUS_EVENTS` is set."""

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import ARRAY, BigInteger, any_, bindparam, delete, select, text
from sqlalchemy.engine import RowMapping

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.tables import status_events
from notification_service.domain.notification import Reason, Status
from notification_service.domain.status_events import StatusEvent
from notification_service.ports.announcing import Announcing

LOCK_NUMBER = 7_153_029_412
HOLD = timedelta(seconds=15)
"""For how long one process may keep the others from announcing without a word to the database."""

_COLUMNS = status_events.c

# The server itself ends the transaction, and with it the lock, of a process that froze or was cut off.
_TAKE_TURN = text("""
SELECT set_config('idle_in_transaction_session_timeout', :hold, true),
  pg_try_advisory_xact_lock(CAST(:number AS bigint)) AS is_ours
""")
_OLDEST = text("SELECT clock_timestamp() - occurred_at FROM status_events ORDER BY id LIMIT 1")


class SqlStatusEvents:
    """`StatusEvents` on PostgreSQL.

    Numbers are drawn under the lock of the notification's row: of one notification they become visible in
    their order. Of several they don't, so nothing here rests on a highest number: an event is forgotten once
    it is safe, and one that appears late is handed over late.
    """

    def __init__(self, database: Database, *, hold: timedelta = HOLD) -> None:
        """Work on an open database."""
        self._database = database
        self._hold = hold

    async def hand_over(self, announcing: Announcing, *, limit: int) -> int:
        """See `StatusEvents.hand_over`: one transaction, which holds no row and no snapshot meanwhile."""
        oldest = select(status_events).order_by(_COLUMNS.id).limit(limit)
        turn = {"hold": str(round(self._hold.total_seconds() * 1000)), "number": LOCK_NUMBER}
        async with self._database.transaction() as connection:
            if not (await connection.execute(_TAKE_TURN, turn)).mappings().one()["is_ours"]:
                return 0
            # A statement of its own: it sees what the last holder of the lock has forgotten.
            rows = (await connection.execute(oldest)).mappings().all()
            if not rows:
                return 0
            safe = await announcing([_event_of(row) for row in _first_of_each(rows)])
            numbers = bindparam(None, sorted(safe), type_=ARRAY(BigInteger()))
            gone = await connection.execute(delete(status_events).where(_COLUMNS.id == any_(numbers)))
        return gone.rowcount

    async def oldest(self) -> timedelta:
        """See `StatusEvents.oldest`."""
        async with self._database.statement() as connection:
            waited: timedelta | None = (await connection.execute(_OLDEST)).scalar_one_or_none()
        return waited or timedelta()


def _first_of_each(rows: Iterable[RowMapping]) -> list[RowMapping]:
    firsts: dict[object, RowMapping] = {}
    for row in rows:
        firsts.setdefault(row["notification_id"], row)
    return list(firsts.values())


def _event_of(row: RowMapping) -> StatusEvent:
    return StatusEvent(
        sequence=row["id"],
        event_type=row["event_type"],
        notification_id=row["notification_id"],
        user_id=row["user_id"],
        channel=row["channel"],
        status=Status(row["status"]),
        status_reason=Reason(row["status_reason"]) if row["status_reason"] else None,
        retry_count=row["retry_count"],
        reference=row["reference"],
        occurred_at=row["occurred_at"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
    )
