"""The hot path on PostgreSQL: each call is one statement over arrays, with a text that never changes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import RowMapping
from uuid_utils.compat import uuid7

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.rows import claim_of, dump, once_per_claim, payload_of, row_of
from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.notification import Backlog, Claim, NotificationId, Settlement

# A key that is past its time is taken over as if it were absent. ON CONFLICT waits for a concurrent holder of
# the same key and then sees what it kept; keys arrive sorted, so that two batches never wait for each other.
ADD_MANY = text("""
WITH taken AS (
  INSERT INTO idempotency_keys AS held (caller, key, fingerprint, status_code, answer, expires_at)
  SELECT k.caller, k.key, k.fingerprint, k.status_code, k.answer, now() + CAST(:keep_answers AS interval)
  FROM unnest(
    CAST(:callers AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]),
    CAST(:status_codes AS smallint[]), CAST(:answers AS bytea[])
  ) AS k(caller, key, fingerprint, status_code, answer)
  ON CONFLICT (caller, key) DO UPDATE SET
    fingerprint = EXCLUDED.fingerprint, status_code = EXCLUDED.status_code,
    answer = EXCLUDED.answer, expires_at = EXCLUDED.expires_at
    WHERE held.expires_at <= now()
  RETURNING caller, key
), stored AS (
  INSERT INTO notifications (
    id, user_id, channel_type, channel_data, body, metadata, status, status_reason, priority, category,
    reference, scheduled_for, expires_at, created_at, due_at, lease_until, request_id, correlation_id,
    traceparent)
  SELECT n.id, n.user_id, n.channel_type, CAST(n.channel_data AS jsonb), n.body, CAST(n.metadata AS jsonb),
    n.status, n.status_reason, n.priority, n.category, n.reference, n.scheduled_for, n.expires_at,
    n.created_at, n.due_at,
    CASE WHEN n.status = 'pending' AND n.due_at <= now()
      THEN now() + nullif(CAST(:hold AS interval), '0') END,
    n.request_id, n.correlation_id, n.traceparent
  FROM unnest(
    CAST(:id AS uuid[]), CAST(:user_id AS text[]), CAST(:channel_type AS text[]),
    CAST(:channel_data AS text[]), CAST(:body AS text[]), CAST(:metadata AS text[]),
    CAST(:status AS text[]), CAST(:status_reason AS text[]), CAST(:priority AS smallint[]),
    CAST(:category AS text[]), CAST(:reference AS text[]), CAST(:scheduled_for AS timestamptz[]),
    CAST(:expires_at AS timestamptz[]), CAST(:created_at AS timestamptz[]), CAST(:due_at AS timestamptz[]),
    CAST(:request_id AS text[]), CAST(:correlation_id AS text[]), CAST(:traceparent AS text[]),
    CAST(:caller AS text[]), CAST(:key AS text[])
  ) AS n(id, user_id, channel_type, channel_data, body, metadata, status, status_reason, priority, category,
    reference, scheduled_for, expires_at, created_at, due_at, request_id, correlation_id, traceparent,
    caller, key)
  WHERE n.key IS NULL OR EXISTS (SELECT FROM taken WHERE taken.caller = n.caller AND taken.key = n.key)
)
SELECT now() AS told, ARRAY(SELECT caller || ' ' || key FROM taken) AS taken
""")

FIND_ANSWERS = text("""
SELECT held.caller, held.key, held.fingerprint, held.status_code, held.answer
FROM unnest(CAST(:callers AS text[]), CAST(:keys AS text[])) AS k(caller, key)
JOIN idempotency_keys AS held ON held.caller = k.caller AND held.key = k.key
WHERE held.expires_at > now()
""")

# Locks the keys in the order in which they are stored, so that neither waits for the other.
CORRECT_ANSWERS = text("""
WITH kept AS (
  SELECT held.caller, held.key, k.answer
  FROM unnest(
    CAST(:callers AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]),
    CAST(:status_codes AS smallint[]), CAST(:answers AS bytea[])
  ) WITH ORDINALITY AS k(caller, key, fingerprint, status_code, answer, place)
  JOIN idempotency_keys AS held
    ON held.caller = k.caller AND held.key = k.key AND held.fingerprint = k.fingerprint
  ORDER BY k.place FOR UPDATE OF held
)
UPDATE idempotency_keys AS held SET answer = kept.answer
FROM kept WHERE held.caller = kept.caller AND held.key = kept.key
""")

# Each priority is looked up by itself, so that rows due later never stand between the index and the due ones.
_DUE = """
WITH due AS (
  SELECT found.id FROM generate_series(10, 1, -1) AS urgent(priority)
  CROSS JOIN LATERAL (
    SELECT id FROM notifications
    WHERE channel_type = CAST(:channel AS text) AND priority = urgent.priority
      AND status IN ('pending', 'queued') AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
    ORDER BY due_at, id LIMIT CAST(:limit AS int) FOR UPDATE SKIP LOCKED
  ) AS found LIMIT CAST(:limit AS int)
)
"""

# Waits for a row that another holds: it may be marking as queued what was just received, and a message is
# received only once. All who write waiting rows do so in one statement, so that none holds them for long.
_DUE_OF_THESE = """
WITH due AS (
  SELECT id FROM notifications
  WHERE id = ANY(CAST(:ids AS uuid[])) AND channel_type = CAST(:channel AS text)
    AND status IN ('pending', 'queued') AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
  ORDER BY priority DESC, due_at, id LIMIT CAST(:limit AS int) FOR UPDATE
)
"""

_CLAIM = """
UPDATE notifications AS n
SET status = 'sending', epoch = n.epoch + 1, lease_until = now() + CAST(:lease AS interval)
FROM due WHERE n.id = due.id
RETURNING n.*, now() AS told
"""

CLAIM = text(_DUE + _CLAIM)
CLAIM_THESE = text(_DUE_OF_THESE + _CLAIM)

# What was not settled is late when its claim was found lost before this statement began (its epoch is over)
# or while it waited for the row (it still looks held in here). An ending told twice meets its own line.
SETTLE = text("""
WITH outcome AS MATERIALIZED (
  SELECT * FROM unnest(
    CAST(:id AS uuid[]), CAST(:epoch AS int[]), CAST(:status AS text[]), CAST(:reason AS text[]),
    CAST(:delay AS interval[]), CAST(:kind AS text[]), CAST(:outcome AS text[]), CAST(:provider AS text[]),
    CAST(:started_at AS timestamptz[]), CAST(:finished_at AS timestamptz[]), CAST(:error_code AS text[]),
    CAST(:detail AS text[]), CAST(:claim_is_lost AS bool[]), CAST(:dead_id AS uuid[]),
    CAST(:payload AS text[])
  ) AS o(id, epoch, status, reason, delay, kind, outcome, provider, started_at, finished_at, error_code,
    detail, claim_is_lost, dead_id, payload)
), settled AS (
  UPDATE notifications AS n SET
    status = o.status,
    status_reason = o.reason,
    attempts = n.attempts + counted.one,
    retry_count = greatest(n.attempts + counted.one - 1, 0),
    due_at = coalesce(now() + o.delay, n.due_at),
    sent_at = CASE WHEN o.status IN ('sent', 'delivered') THEN coalesce(n.sent_at, now()) ELSE n.sent_at END,
    epoch = n.epoch + CASE WHEN o.claim_is_lost THEN 1 ELSE 0 END,
    lease_until = NULL
  FROM outcome AS o, LATERAL (SELECT CASE o.kind WHEN 'attempt' THEN 1 ELSE 0 END AS one) AS counted
  WHERE n.id = o.id AND n.epoch = o.epoch AND n.status = 'sending'
  RETURNING n.id, o.epoch, n.user_id, n.channel_type, n.attempts, n.due_at
), history AS (
  INSERT INTO attempts (
    notification_id, epoch, kind, outcome, provider, started_at, finished_at, error_code, detail,
    next_attempt_at)
  SELECT o.id, o.epoch, o.kind, o.outcome, o.provider, o.started_at, o.finished_at,
    CASE WHEN s.id IS NULL THEN 'lease_lost' ELSE o.error_code END,
    CASE WHEN s.id IS NULL THEN nullif(concat_ws(': ', o.error_code, o.detail), '') ELSE o.detail END,
    CASE WHEN o.delay IS NOT NULL THEN s.due_at END
  FROM outcome AS o LEFT JOIN settled AS s ON s.id = o.id AND s.epoch = o.epoch
  WHERE s.id IS NOT NULL OR NOT o.claim_is_lost AND EXISTS (
    SELECT FROM notifications AS n
    WHERE n.id = o.id AND (n.epoch > o.epoch OR n.epoch = o.epoch AND n.status = 'sending')
  )
  ORDER BY o.finished_at
  ON CONFLICT (notification_id, epoch, outcome) DO NOTHING
), dead AS (
  INSERT INTO dead_letters (id, notification_id, user_id, channel, reason, detail, attempts, dead_at, payload)
  SELECT o.dead_id, s.id, s.user_id, s.channel_type, o.reason, o.detail, s.attempts, now(),
    CAST(o.payload AS jsonb)
  FROM outcome AS o JOIN settled AS s ON s.id = o.id AND s.epoch = o.epoch WHERE o.dead_id IS NOT NULL
)
SELECT id FROM settled
""")

LOST_CLAIMS = text("""
SELECT n.*, now() AS told FROM notifications AS n
WHERE n.status = 'sending' AND n.lease_until < now() ORDER BY n.lease_until LIMIT CAST(:limit AS int)
""")

EXPIRE = text("""
WITH due AS (
  SELECT id FROM notifications
  WHERE expires_at IS NOT NULL AND expires_at <= now() AND status IN ('pending', 'queued')
  ORDER BY expires_at LIMIT CAST(:limit AS int) FOR UPDATE SKIP LOCKED
), expired AS (
  UPDATE notifications AS n SET status = 'expired', status_reason = 'expired'
  FROM due WHERE n.id = due.id RETURNING n.id
)
INSERT INTO attempts (notification_id, kind, outcome, started_at, finished_at)
SELECT id, 'decision', 'expired', now(), now() FROM expired
""")

FORGET_ANSWERS = text("""
DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM idempotency_keys
  WHERE expires_at <= now() LIMIT CAST(:limit AS int) FOR UPDATE SKIP LOCKED
))
""")

BACKLOG = text("""
SELECT now() AS told,
  count(*) FILTER (WHERE status = 'pending') AS pending,
  count(*) FILTER (WHERE status = 'queued') AS queued,
  (SELECT count(*) FROM notifications WHERE status = 'sending') AS sending,
  (SELECT count(*) FROM dead_letters WHERE redriven_at IS NULL) AS dead_letters,
  greatest(now() - min(due_at), interval '0') AS oldest_due
FROM notifications WHERE status IN ('pending', 'queued')
""")


class PostgresStore:
    """`NotificationStore` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    def now(self) -> datetime:
        """See `NotificationStore.now`."""
        return self._database.now()

    async def check(self) -> str:
        """See `NotificationStore.check`."""
        return await self._database.check(must_write=True)

    async def add_many(
        self, acceptances: Sequence[Acceptance], *, keep_answers: timedelta, hold: timedelta = timedelta()
    ) -> Sequence[StoredAnswer | None]:
        """See `NotificationStore.add_many`: keys and rows in one statement."""
        if not acceptances:
            return ()
        firsts = _first_holders(acceptances)
        arrays = _acceptance_arrays([each for each in acceptances if _is_first(each, firsts)])
        [row] = await self._rows(ADD_MANY, keep_answers=keep_answers, hold=hold, **arrays)
        self._database.measured(row["told"])
        taken = frozenset(row["taken"])
        lost = [each.key for each in acceptances if each.key and not _won(each, firsts, taken)]
        kept = await self.find_answers(lost) if lost else ()
        if None in kept:  # forgotten between the two statements: nobody can tell any more
            raise StoreUnavailableError
        answers = iter(kept)
        return [None if _won(each, firsts, taken) else next(answers) for each in acceptances]

    async def correct_answers(self, answers: Sequence[tuple[IdempotencyKey, StoredAnswer]]) -> None:
        """See `NotificationStore.correct_answers`."""
        if answers:
            await self._count(CORRECT_ANSWERS, **_answer_arrays(answers))

    async def find_answers(self, keys: Sequence[IdempotencyKey]) -> Sequence[StoredAnswer | None]:
        """See `NotificationStore.find_answers`."""
        rows = await self._rows(
            FIND_ANSWERS, callers=[each.caller for each in keys], keys=[each.key for each in keys]
        )
        kept = {
            (row["caller"], row["key"]): StoredAnswer(
                fingerprint=row["fingerprint"], status_code=row["status_code"], body=row["answer"]
            )
            for row in rows
        }
        return [kept.get((each.caller, each.key)) for each in keys]

    async def claim(
        self,
        channel: ChannelType,
        *,
        limit: int,
        lease: timedelta,
        ids: Sequence[NotificationId] | None = None,
    ) -> Sequence[Claim]:
        """See `NotificationStore.claim`: rows that another claim holds are skipped, not waited for."""
        if ids is None:
            rows = await self._rows(CLAIM, channel=channel, limit=limit, lease=lease)
        else:
            rows = await self._rows(CLAIM_THESE, channel=channel, limit=limit, lease=lease, ids=list(ids))
        rows = sorted(rows, key=lambda row: (-row["priority"], row["due_at"], row["id"]))
        return [claim_of(row, claimed_at=row["told"]) for row in rows]

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[NotificationId]:
        """See `NotificationStore.settle`: states, history and dead letters in one statement."""
        if not settlements:
            return frozenset()
        outcomes = [_settlement_row(each) for each in once_per_claim(settlements)]
        rows = await self._rows(SETTLE, **_columns(outcomes))
        return frozenset(row["id"] for row in rows)

    async def lost_claims(self, *, limit: int) -> Sequence[Claim]:
        """See `NotificationStore.lost_claims`."""
        rows = await self._rows(LOST_CLAIMS, limit=limit)
        return [claim_of(row, claimed_at=row["told"]) for row in rows]

    async def expire(self, *, limit: int) -> int:
        """See `NotificationStore.expire`."""
        return await self._count(EXPIRE, limit=limit)

    async def forget_answers(self, *, limit: int) -> int:
        """See `NotificationStore.forget_answers`."""
        return await self._count(FORGET_ANSWERS, limit=limit)

    async def backlog(self) -> Backlog:
        """See `NotificationStore.backlog`."""
        [row] = await self._rows(BACKLOG)
        self._database.measured(row["told"])
        return Backlog(
            pending=row["pending"],
            queued=row["queued"],
            sending=row["sending"],
            dead_letters=row["dead_letters"],
            oldest_due=row["oldest_due"] or timedelta(),
        )

    async def _rows(self, statement: Any, **parameters: Any) -> Sequence[RowMapping]:
        async with self._database.statement() as connection:
            return (await connection.execute(statement, parameters)).mappings().all()

    async def _count(self, statement: Any, **parameters: Any) -> int:
        async with self._database.statement() as connection:
            return (await connection.execute(statement, parameters)).rowcount


type _Holders = dict[str, int]


def _name(key: IdempotencyKey) -> str:
    # A key is visible ASCII: the last space always stands between the caller and the key.
    return f"{key.caller} {key.key}"


def _first_holders(acceptances: Sequence[Acceptance]) -> _Holders:
    holders: _Holders = {}
    for each in acceptances:
        if each.key:
            holders.setdefault(_name(each.key), id(each))
    return holders


def _is_first(acceptance: Acceptance, firsts: _Holders) -> bool:
    return acceptance.key is None or firsts[_name(acceptance.key)] == id(acceptance)


def _won(acceptance: Acceptance, firsts: _Holders, taken: frozenset[str]) -> bool:
    return acceptance.key is None or (_is_first(acceptance, firsts) and _name(acceptance.key) in taken)


def _acceptance_arrays(acceptances: Sequence[Acceptance]) -> dict[str, list[Any]]:
    held = [(each.key, each.answer) for each in acceptances if each.key and each.answer]
    rows = [
        row_of(one)
        | {
            "channel_data": dump(one.channel),
            "metadata": dump(one.metadata),
            "caller": each.key and each.key.caller,
            "key": each.key and each.key.key,
        }
        for each in acceptances
        for one in each.notifications
    ]
    return _columns(rows) | _answer_arrays(held)


def _answer_arrays(answers: Sequence[tuple[IdempotencyKey, StoredAnswer]]) -> dict[str, list[Any]]:
    held = sorted(answers, key=lambda pair: (pair[0].caller, pair[0].key))
    return {
        "callers": [key.caller for key, _ in held],
        "keys": [key.key for key, _ in held],
        "fingerprints": [key.fingerprint for key, _ in held],
        "status_codes": [answer.status_code for _, answer in held],
        "answers": [answer.body for _, answer in held],
    }


def _settlement_row(settlement: Settlement) -> dict[str, Any]:
    entry, claim = settlement.entry, settlement.claim
    return {
        "id": claim.notification.id,
        "epoch": claim.epoch,
        "status": settlement.status.value,
        "reason": settlement.reason,
        "delay": settlement.delay,
        "kind": entry.kind,
        "outcome": entry.outcome.value,
        "provider": entry.provider,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
        "error_code": entry.error_code,
        "detail": entry.detail,
        "claim_is_lost": settlement.claim_is_lost,
        "dead_id": uuid7() if settlement.dead_letter else None,
        "payload": dump(payload_of(claim.notification)) if settlement.dead_letter else None,
    }


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
