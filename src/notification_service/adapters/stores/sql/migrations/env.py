"""Runs migrations: on the database it is handed, else on the one the settings name."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from notification_service.adapters.stores.sql.migrate import migrating
from notification_service.adapters.stores.sql.tables import metadata


def run(connection: Connection) -> None:
    """Apply the wanted revisions in the transaction that `connection` is in."""
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_from_the_command_line() -> None:
    """Open the configured database for the `alembic` command."""
    # The command is an entry point of its own, so this file alone may look upwards.
    from notification_service.settings import load_settings  # noqa: PLC0415

    async with migrating(load_settings().async_database_url) as connection:
        await connection.run_sync(run)


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    asyncio.run(run_from_the_command_line())
