"""What one of many processes does that migrate the same database at once."""

import asyncio
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from notification_service.adapters.stores.sql.migrate import upgrade


def migrate(url: str, together: Barrier, told: "SimpleQueue[tuple[str | None, str | None]]") -> None:
    together.wait(30)
    told.put(asyncio.run(upgrade(url)))
