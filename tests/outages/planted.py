"""Runs a command of the service that stands still at a moment one wants to see it die in.

`python -m tests.outages.planted NAME PROGRAM ARGUMENTS…`
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

from notification_service.adapters.stores.sql.postgres import PostgresStore
from tests.crash.planted import program_of


def stands_still_after_the_commit() -> None:
    """What is stored stays so, and nobody hears of it."""
    store = PostgresStore.add_many

    async def add_many(self: PostgresStore, acceptances: Sequence[Any], **options: Any) -> Any:
        await store(self, acceptances, **options)
        await asyncio.Event().wait()

    PostgresStore.add_many = add_many  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[], None]] = {
    "stands-still-after-the-commit": stands_still_after_the_commit,
}


if __name__ == "__main__":
    plant, program, *arguments = sys.argv[1:]
    PLANTS[plant]()
    sys.argv = [program, *arguments]
    program_of(program)()
