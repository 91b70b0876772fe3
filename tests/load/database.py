"""What PostgreSQL itself says: which rows there are, and how many transactions were committed."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg

STATISTICS_SECONDS = 0.5
"""What a session reports at its end needs a moment to be seen."""


async def stored_ids(url: str) -> list[str]:
    """Return the id of every notification."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return [str(row["id"]) for row in await connection.fetch("SELECT id FROM notifications")]
    finally:
        await connection.close()


async def transactions(url: str) -> int:
    """Return a number that grows by one with each transaction which writes."""
    return int(await _value(url, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"))


async def commits(url: str) -> int:
    """Return how many transactions were committed by sessions that have ended, reading ones too.

    A living session reports its own with a delay. Asked from another database, so as not to count.
    """
    await asyncio.sleep(STATISTICS_SECONDS)
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    elsewhere = urlunsplit(parts._replace(path="/postgres"))
    return int(await _value(elsewhere, "SELECT xact_commit FROM pg_stat_database WHERE datname = $1", name))


async def _value(url: str, query: str, *arguments: str) -> str:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return str(await connection.fetchval(query, *arguments))
    finally:
        await connection.close()
