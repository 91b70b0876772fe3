"""What the workers had in hand at a moment, read from the database's own table beside the service."""

import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

type ClaimInHand = tuple[str, int]

IN_HAND = "SELECT id, epoch FROM notifications WHERE status = 'sending'"


async def claims_in_hand(database: str, *, alive: bool) -> frozenset[ClaimInHand]:
    """Return each notification that is being sent, and the number of its claim.

    A file whose owner is dead is looked at as a copy: opening it would already recover what the restart has
    to recover.
    """
    if database.startswith("sqlite"):
        path = Path(urlsplit(database).path)
        return _from_file(path) if alive else _from_copy(path)
    connection = await asyncpg.connect(database, timeout=10)
    try:
        return frozenset((str(row["id"]), row["epoch"]) for row in await connection.fetch(IN_HAND))
    finally:
        await connection.close()


def _from_copy(path: Path) -> frozenset[ClaimInHand]:
    with tempfile.TemporaryDirectory(prefix="ns-crash-copy-") as folder:
        for part in (path, path.with_name(path.name + "-wal")):
            if part.exists():
                shutil.copy(part, folder)
        return _from_file(Path(folder) / path.name)


def _from_file(path: Path) -> frozenset[ClaimInHand]:
    connection = sqlite3.connect(path)
    try:
        return frozenset((str(UUID(row[0])), row[1]) for row in connection.execute(IN_HAND))
    finally:
        connection.close()
