"""Workers that come, go, die and freeze while there is work in RabbitMQ."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker
from notification_service.domain.notification import NotificationId
from tests.brokers.conformance import CONSUMED, PATIENCE, answering
from tests.brokers.rabbitmq_rig import Rig
from tests.services.rabbitmq import RabbitmqServer
from tests.stores.making import a_notification

WORKER = """
import asyncio, sys
from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker

async def main(url, prefix):
    broker = RabbitmqBroker(url, prefetch=100, prefix=prefix, channels=("email", "sms"))
    async with broker, broker.consuming(frozenset({"email"})):
        received = 0
        while received < 20:
            received += len((await broker.receive("email", limit=100, more=True)).ids)
        print("received", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def rig(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Rig]:
    rig = Rig(rabbitmq_server.url)
    yield rig
    await rig.remove()


@asynccontextmanager
async def a_worker_with_work(rig: Rig) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run another process that has received something and settles nothing."""
    arguments = ("-c", WORKER, rig.url, rig.prefix)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout
        async with asyncio.timeout(PATIENCE):
            while b"received" not in await process.stdout.readline():
                pass
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def receive(broker: RabbitmqBroker, count: int) -> set[NotificationId]:
    received: set[NotificationId] = set()
    async with asyncio.timeout(PATIENCE):
        while len(received) < count:
            parcel = await broker.receive("email", limit=10, more=True)
            received.update(parcel.ids or ())
            await broker.settled(parcel)
    return received


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_a_dead_or_frozen_worker_had_goes_to_the_next(rig: Rig, end: signal.Signals) -> None:
    notifications = [a_notification() for _ in range(20)]
    async with rig.broker() as broker:
        await answering(broker)
        await broker.publish(notifications)
        async with a_worker_with_work(rig) as worker:
            worker.send_signal(end)

            async with broker.consuming(CONSUMED):
                assert await receive(broker, 20) == {each.id for each in notifications}


async def test_workers_that_come_and_go_lose_nothing(rig: Rig) -> None:
    """And repeat only what one of them had not settled when it went."""
    everything = [a_notification() for _ in range(600)]
    received: list[NotificationId] = []

    async def work(turns: int) -> None:
        async with rig.broker(prefetch=20) as broker:
            for _ in range(turns):
                async with broker.consuming(CONSUMED):
                    for _ in range(5):
                        parcel = await broker.receive("email", limit=10, more=True)
                        received.extend(parcel.ids or ())
                        await broker.settled(parcel)

    async with rig.broker() as broker:
        await answering(broker)
        coming_and_going = [asyncio.create_task(work(8)) for _ in range(2)]
        for start in range(0, 600, 50):
            await broker.publish(everything[start : start + 50])
            await asyncio.sleep(0.1)
        await asyncio.wait(coming_and_going, timeout=2)
        for each in coming_and_going:
            each.cancel()
        await asyncio.wait(coming_and_going)
        async with broker.consuming(CONSUMED):
            missing = {each.id for each in everything}.difference(received)
            if missing:
                assert missing <= await receive(broker, len(missing))

    assert len(received) == len(set(received))
