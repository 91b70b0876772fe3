"""Status events for other systems, written by a trigger together with the transitions they tell of."""

import sqlalchemy as sa
from alembic import op

from notification_service.adapters.stores.sql.tables import UtcDateTime, identity

revision = "0003_status_events"
down_revision = "0002_outbox"
branch_labels = None
depends_on = None

# A retry is what has an attempt behind it: a notification that is merely held was not tried.
FUNCTION = """
CREATE FUNCTION keep_status_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO status_events (
    event_type, notification_id, user_id, channel, status, status_reason, retry_count, reference,
    occurred_at, correlation_id, traceparent)
  VALUES (
    'notification.' || CASE NEW.status WHEN 'pending' THEN 'retry_scheduled' ELSE NEW.status END,
    NEW.id, NEW.user_id, NEW.channel_type, NEW.status, NEW.status_reason, NEW.retry_count, NEW.reference,
    clock_timestamp(), NEW.correlation_id, NEW.traceparent);
  RETURN NULL;
END $$
"""
# The conditions stand here and not in the function: where they don't hold, it isn't called.
OTHERS_CARE = "NEW.status IN ('sent', 'delivered', 'failed', 'cancelled', 'suppressed', 'expired')"
IS_ON = "current_setting('ns.status_events', true) = 'on'"
ON_INSERT = f"""
CREATE TRIGGER status_event_of_new AFTER INSERT ON notifications FOR EACH ROW
WHEN ({OTHERS_CARE} AND {IS_ON})
EXECUTE FUNCTION keep_status_event()
"""
ON_UPDATE = f"""
CREATE TRIGGER status_event_of_change AFTER UPDATE OF status ON notifications FOR EACH ROW
WHEN (
  OLD.status <> NEW.status
  AND ({OTHERS_CARE} OR NEW.status = 'pending' AND OLD.status = 'sending' AND NEW.attempts > OLD.attempts)
  AND {IS_ON})
EXECUTE FUNCTION keep_status_event()
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "status_events",
        sa.Column("id", identity(), autoincrement=True, nullable=False),
        sa.Column("event_type", sa.String(length=64), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("status_reason", sa.String(length=32), nullable=True),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=True),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("correlation_id", sa.String(length=128), nullable=False),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_status_events"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for statement in (FUNCTION, ON_INSERT, ON_UPDATE):
            op.execute(statement)


def downgrade() -> None:
    """Take back."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER status_event_of_change ON notifications")
        op.execute("DROP TRIGGER status_event_of_new ON notifications")
        op.execute("DROP FUNCTION keep_status_event()")
    op.drop_table("status_events")
