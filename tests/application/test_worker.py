"""One worker process: it delivers, sweeps and watches, and stops as one."""

import asyncio
from datetime import timedelta

from notification_service.application.worker import Worker
from notification_service.domain.notification import Status
from tests.application.workshop import Workshop


async def test_a_worker_delivers_sweeps_and_watches_until_it_is_told_to_stop(workshop: Workshop) -> None:
    lost = await workshop.add()
    await workshop.house.claim(lease=timedelta(seconds=-1))
    worker = Worker(deliver=workshop.deliver(), relay=None, sweep=workshop.sweep())
    stopping = asyncio.Event()

    running = asyncio.create_task(worker.run(stopping=stopping))
    await workshop.becomes(lost.id, Status.SENT)
    stopping.set()
    async with asyncio.timeout(1):
        await running

    assert worker.channels == workshop.provider.channels
    assert "notifications_oldest_due_seconds 0.0" in workshop.metrics.render()[0].decode()


async def test_a_worker_for_some_channels_leaves_the_others(workshop: Workshop) -> None:
    email, sms = await workshop.add(), await workshop.add(channel_type="sms")
    worker = Worker(deliver=workshop.deliver(), relay=None, sweep=workshop.sweep())
    stopping = asyncio.Event()

    running = asyncio.create_task(worker.run(stopping=stopping, channels=["sms"]))
    await workshop.becomes(sms.id, Status.SENT)
    stopping.set()
    await running

    assert await workshop.house.status(email.id) is Status.QUEUED
