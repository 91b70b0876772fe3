"""One set of tables for SQLite and PostgreSQL; migrations make them, a test proves that both agree."""

from datetime import UTC, datetime
from typing import Any, override

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SQLITE_TIME = "%Y-%m-%d %H:%M:%S.%f"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: `timestamptz` in PostgreSQL, sortable UTC text in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite has no zones: it gets UTC."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware, always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def json_type() -> JSON:
    """`jsonb` in PostgreSQL, text in SQLite."""
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def identity() -> Any:
    """A growing number; only an INTEGER key grows by itself in SQLite."""
    return BigInteger().with_variant(Integer(), "sqlite")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

WAITING_SQL = "status IN ('pending', 'queued')"

notifications = Table(
    "notifications",
    metadata,
    Column("id", Uuid(), primary_key=True),
    Column("user_id", String(255), nullable=False),
    Column("channel_type", String(32), nullable=False),
    Column("channel_data", json_type(), nullable=False),
    Column("body", Text(), nullable=False),
    Column("metadata", json_type(), nullable=False),
    Column("status", String(32), nullable=False),
    Column("status_reason", String(32)),
    Column("priority", SmallInteger(), nullable=False),
    Column("category", String(64)),
    Column("reference", String(255)),
    Column("retry_count", Integer(), nullable=False, server_default=text("0")),
    Column("attempts", Integer(), nullable=False, server_default=text("0")),
    # `attempts` when the budget was last granted: a retry by hand grants a fresh one.
    Column("budget_from", Integer(), nullable=False, server_default=text("0")),
    # Counts claims; a settlement names the epoch of its claim, so that a late one changes nothing.
    Column("epoch", Integer(), nullable=False, server_default=text("0")),
    # Until when whoever has it is trusted: a worker while it is sending, a publisher while it is pending,
    # a broker's queue while it is queued. Where the table itself is the queue, only workers have it.
    Column("lease_until", UtcDateTime()),
    Column("scheduled_for", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("due_at", UtcDateTime(), nullable=False),
    Column("sent_at", UtcDateTime()),
    Column("request_id", String(128), nullable=False),
    Column("correlation_id", String(128), nullable=False),
    Column("traceparent", String(64)),
    # Rows change a few times soon after they are written: room on the page keeps the new versions near.
    postgresql_with={"fillfactor": 70},
)

Index(
    "ix_notifications_due",
    notifications.c.channel_type,
    notifications.c.priority.desc(),
    notifications.c.due_at,
    notifications.c.id,
    postgresql_where=text(WAITING_SQL),
    sqlite_where=text(WAITING_SQL),
)
Index(
    "ix_notifications_lease",
    notifications.c.lease_until,
    postgresql_where=text("status = 'sending'"),
    sqlite_where=text("status = 'sending'"),
)
Index(
    "ix_notifications_unpublished",
    notifications.c.priority.desc(),
    notifications.c.due_at,
    notifications.c.id,
    postgresql_where=text("status = 'pending'"),
    sqlite_where=text("status = 'pending'"),
)
Index(
    "ix_notifications_trust",
    notifications.c.lease_until,
    postgresql_where=text("status = 'queued' AND lease_until IS NOT NULL"),
    sqlite_where=text("status = 'queued' AND lease_until IS NOT NULL"),
)
Index(
    "ix_notifications_expiry",
    notifications.c.expires_at,
    postgresql_where=text(f"expires_at IS NOT NULL AND {WAITING_SQL}"),
    sqlite_where=text(f"expires_at IS NOT NULL AND {WAITING_SQL}"),
)
Index(
    "ix_notifications_user",
    notifications.c.user_id,
    notifications.c.id,
    # Carried along so that a user's rows are counted by status without reading them.
    postgresql_include=["status"],
)
Index(
    "ix_notifications_reference",
    notifications.c.reference,
    notifications.c.id,
    postgresql_where=text("reference IS NOT NULL"),
    sqlite_where=text("reference IS NOT NULL"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("notification_id", Uuid(), nullable=False),
    # Of the claim that the line tells about; a decision that needed no claim has none.
    Column("epoch", Integer()),
    Column("kind", String(16), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("provider", String(64)),
    Column("started_at", UtcDateTime(), nullable=False),
    Column("finished_at", UtcDateTime(), nullable=False),
    Column("error_code", String(64)),
    Column("detail", Text()),
    Column("next_attempt_at", UtcDateTime()),
    # Unique, so that an ending told twice is written once; lines without an epoch are never equal.
    Index("ix_attempts_claim", "notification_id", "epoch", "outcome", unique=True),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Uuid(), primary_key=True),
    Column("notification_id", Uuid()),
    Column("user_id", String(255)),
    Column("channel", String(32)),
    Column("reason", String(32), nullable=False),
    Column("detail", Text()),
    Column("attempts", Integer(), nullable=False),
    Column("dead_at", UtcDateTime(), nullable=False),
    Column("redriven_at", UtcDateTime()),
    Column("redriven_by", String(255)),
    Column("payload", json_type(), nullable=False),
    Index("ix_dead_letters_notification", "notification_id"),
    Index(
        "ix_dead_letters_open",
        "id",
        postgresql_where=text("redriven_at IS NULL"),
        sqlite_where=text("redriven_at IS NULL"),
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", LargeBinary(), nullable=False),
    Column("status_code", SmallInteger(), nullable=False),
    Column("answer", LargeBinary(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
    Index("ix_idempotency_keys_expiry", "expires_at"),
)

users = Table(
    "users",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(255)),
    Column("disabled", Boolean(), nullable=False, server_default=text("false")),
    Column("created_at", UtcDateTime(), nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", LargeBinary(), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("csrf_token", String(64), nullable=False, server_default=text("''")),
    Column("expires_at", UtcDateTime(), nullable=False),
    Index("ix_sessions_expiry", "expires_at"),
)

mailbox_messages = Table(
    "mailbox_messages",
    metadata,
    Column("id", Uuid(), primary_key=True),
    Column("notification_id", Uuid(), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("to", Text(), nullable=False),
    Column("subject", Text()),
    Column("text", Text(), nullable=False),
    Column("html", Text()),
    Column("headers", json_type(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    Index("ix_mailbox_messages_user", "user_id", "id"),
    Index("ix_mailbox_messages_notification", "notification_id"),
)

# On PostgreSQL a trigger on `notifications` fills it, on connections that say `ns.status_events` is on.
status_events = Table(
    "status_events",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("event_type", String(64), nullable=False),
    Column("notification_id", Uuid(), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("status_reason", String(32)),
    Column("retry_count", Integer(), nullable=False),
    Column("reference", String(255)),
    Column("occurred_at", UtcDateTime(), nullable=False),
    Column("correlation_id", String(128), nullable=False),
    Column("traceparent", String(64)),
)
