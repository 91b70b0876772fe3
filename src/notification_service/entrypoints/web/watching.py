"""Waits for new messages on behalf of an open page.

The store is the only source: messages may be written by other processes. A wait is short, so that no answer
is outstanding for long when the server is told to stop, and it holds nothing between two looks.
"""

import asyncio
from datetime import timedelta

from notification_service.bootstrap import Service
from notification_service.domain.mailbox import MailboxFilter
from notification_service.entrypoints.web.reading import current_version

LOOK_EVERY = timedelta(seconds=0.5)
LOOKS = 5


async def wait_for_change(service: Service, where: MailboxFilter, *, known: str) -> bool:
    """Return True once the newest messages are others than `known` says, False when that takes too long."""
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
        if await current_version(service, where) != known:
            return True
    return False
