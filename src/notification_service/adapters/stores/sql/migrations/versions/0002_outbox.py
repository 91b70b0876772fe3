"""How a relay finds what no queue holds: due and unpublished, or queued and no longer trusted."""

import sqlalchemy as sa
from alembic import op

revision = "0002_outbox"
down_revision = "0001_init"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_notifications_unpublished",
        "notifications",
        [sa.text("priority DESC"), "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_notifications_trust",
        "notifications",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("status = 'queued' AND lease_until IS NOT NULL"),
        sqlite_where=sa.text("status = 'queued' AND lease_until IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_notifications_trust", table_name="notifications")
    op.drop_index("ix_notifications_unpublished", table_name="notifications")
