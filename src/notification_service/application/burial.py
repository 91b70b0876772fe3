"""Mirrors dead letters in the broker's own dead-letter queue."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from notification_service.domain.events import Buried
from notification_service.ports import Broker

PATIENCE = timedelta(seconds=2)

log = structlog.get_logger(__name__)


async def bury(broker: Broker, dead: Sequence[Buried]) -> None:
    """Show what is stored as dead in the broker too; a broker that can't now goes without."""
    if not dead:
        return
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await broker.bury(dead)
    except Exception as error:  # the store has it, and is what people look at
        log.warning("not_mirrored", count=len(dead), error=type(error).__name__)
