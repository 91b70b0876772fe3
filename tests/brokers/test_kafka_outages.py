"""What happens to Kafka must not happen to the service: it is killed, wiped, frozen, absent, refusing."""

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from structlog.testing import capture_logs

from notification_service.adapters.brokers import kafka_consumer, kafka_producer
from notification_service.adapters.brokers.kafka import KafkaBroker
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.notification import Notification, NotificationId
from tests.brokers.conformance import CONSUMED, PATIENCE, answering
from tests.brokers.test_kafka import a_broker
from tests.brokers.test_kafka_group import notifications, one_by_one, receive_all
from tests.services.kafka import KafkaServer, OwnKafka
from tests.stores.making import a_notification

RELAY_PATIENCE = 10.0


@pytest.fixture
def broker(own_kafka: OwnKafka) -> KafkaBroker:
    """Return one of the test's own server, not yet entered."""
    return a_broker(own_kafka.bootstrap, uuid.uuid4().hex)


async def publish_at_last(broker: KafkaBroker, work: list[Notification]) -> None:
    """Publish as the relay does: again and again, until all is confirmed."""
    while work:
        with suppress(BrokerUnavailableError, TimeoutError):
            async with asyncio.timeout(RELAY_PATIENCE):
                confirmed = await broker.publish(work)
            work = [each for each in work if each.id not in confirmed]
        await asyncio.sleep(0.1)


async def receive_these(broker: KafkaBroker, wanted: set[NotificationId]) -> None:
    missing = set(wanted)
    while missing:
        parcel = await broker.receive("email", limit=100, more=False)
        missing.difference_update(parcel.ids or ())
        await broker.settled(parcel)


@asynccontextmanager
async def quickly(seconds: float) -> AsyncIterator[None]:
    """The block takes less than so many seconds."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


async def stopped(own_kafka: OwnKafka, how: str) -> None:
    await asyncio.to_thread(getattr(own_kafka, how))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["kill", "wipe"])
async def test_killed_or_wiped_and_started_again_it_is_used_again(
    own_kafka: OwnKafka, broker: KafkaBroker, how: str
) -> None:
    """Under load, with somebody consuming all the time, who may need `JOINING` to give up an old group."""
    before, during, after = notifications(50), notifications(50), notifications(50)
    with capture_logs() as lines:
        async with broker, asyncio.timeout(kafka_consumer.JOINING.total_seconds() + 60):
            await answering(broker)
            async with broker.consuming(CONSUMED):
                await broker.publish(before)
                await receive_these(broker, {each.id for each in before})
                await stopped(own_kafka, how)
                publishing = asyncio.create_task(publish_at_last(broker, during))
                await asyncio.sleep(3)
                async with quickly(0.1):
                    with pytest.raises(BrokerUnavailableError):
                        await broker.publish(after)

                await stopped(own_kafka, "start")
                await publishing
                await publish_at_last(broker, after)

                await receive_these(broker, {each.id for each in during + after})
    told = [line["event"] for line in lines if line["event"] in {"broker_lost", "broker_connected"}]
    assert told == ["broker_connected", "broker_lost", "broker_connected"]


async def test_what_a_wiped_server_held_is_drained_and_a_backlog_is_not(
    own_kafka: OwnKafka, broker: KafkaBroker
) -> None:
    async with broker, asyncio.timeout(55):
        await answering(broker)
        await broker.publish(notifications(50))
        await broker.drained()
        assert await broker.drained() == frozenset()
        await stopped(own_kafka, "wipe")
        with pytest.raises(BrokerUnavailableError):
            await broker.drained()

        await stopped(own_kafka, "start")
        await answering(broker)

        assert await broker.drained() == frozenset()  # as if it were the first question
        assert await broker.drained() == CONSUMED


async def test_a_frozen_server_holds_nobody_up_and_costs_no_memory(
    own_kafka: OwnKafka, broker: KafkaBroker
) -> None:
    """Callers who give up after a second leave nothing behind that grows."""
    impatient = iter(lambda: notifications(100), None)
    later = notifications(50)
    async with broker, asyncio.timeout(55):
        await answering(broker)
        async with broker.consuming(CONSUMED):
            await broker.publish(notifications(10))
            await receive_all(broker, 10)
            own_kafka.freeze()
            began = time.monotonic()
            largest = 0
            for work in islice(impatient, 500):
                with suppress(BrokerUnavailableError, TimeoutError):
                    async with asyncio.timeout(0.5):
                        await broker.publish(work)
                largest = max(largest, len(broker._publisher._flying))
                if time.monotonic() - began > 6:
                    break
                await asyncio.sleep(0.02)
            async with quickly(3):
                with pytest.raises(BrokerUnavailableError):
                    await broker.check()
            own_kafka.thaw()

            await publish_at_last(broker, later)
            await receive_these(broker, {each.id for each in later})

    assert 0 < largest <= 2 * 3  # two batches for each partition


async def test_the_longest_that_publishing_takes_is_its_patience(
    own_kafka: OwnKafka, broker: KafkaBroker
) -> None:
    async with broker:
        await answering(broker)
        own_kafka.freeze()

        async with quickly(kafka_producer.PATIENCE.total_seconds() + 1):
            with pytest.raises(BrokerUnavailableError):
                await broker.publish(notifications(10))
        own_kafka.thaw()
        await answering(broker)


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_leaving_without_a_server_takes_no_time_and_leaves_nothing_running(
    own_kafka: OwnKafka, broker: KafkaBroker, how: str
) -> None:
    before = asyncio.all_tasks()
    async with broker:
        await answering(broker)
        async with broker.consuming(CONSUMED):
            await broker.publish(notifications(10))
            await one_by_one(broker, 5)
            publishing = asyncio.create_task(publish_at_last(broker, notifications(1000)))
            await stopped(own_kafka, how)
            await asyncio.sleep(0.5)
            publishing.cancel()
            began = time.monotonic()

    assert time.monotonic() - began < 15
    await asyncio.sleep(0.5)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


async def test_a_worker_may_be_started_before_the_server(kafka_server: KafkaServer) -> None:
    own = OwnKafka()
    work = notifications(5)
    with capture_logs() as lines:
        async with (
            a_broker(own.bootstrap, "topic") as broker,
            asyncio.timeout(50),
            broker.consuming(CONSUMED),
        ):
            await asyncio.sleep(3)
            assert [line["event"] for line in lines] == ["broker_lost"]
            await stopped(own, "start")

            await publish_at_last(broker, work)

            await receive_these(broker, {each.id for each in work})
    own.close()


async def test_a_topic_that_is_deleted_is_made_again(own_kafka: OwnKafka, broker: KafkaBroker) -> None:
    later = notifications(30)
    async with broker, asyncio.timeout(55):
        await answering(broker)
        async with broker.consuming(CONSUMED):
            await broker.publish(notifications(30))
            await receive_all(broker, 30)

            await delete(own_kafka.bootstrap, broker._topics_of(CONSUMED))
            await publish_at_last(broker, later)

            await receive_these(broker, {each.id for each in later})


async def delete(bootstrap: str, topics: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await admin.delete_topics(topics)
    finally:
        await admin.close()


async def test_a_producer_that_lost_count_is_replaced(own_kafka: OwnKafka, broker: KafkaBroker) -> None:
    """As after a batch that was dropped: the server refuses everything that comes after it."""
    async with broker, asyncio.timeout(PATIENCE):
        await answering(broker)
        user = [a_notification()]
        await broker.publish(user)
        producer = broker._publisher._producer
        assert producer
        for place in list(producer._txn_manager._sequence_numbers):
            producer._txn_manager.increment_sequence_number(place, 7)

        with pytest.raises(BrokerUnavailableError):
            await broker.publish(user)

        await publish_at_last(broker, user)


async def test_what_a_killed_worker_had_in_hand_goes_to_the_next(kafka_server: KafkaServer) -> None:
    name = uuid.uuid4().hex
    published = notifications(20)
    async with a_broker(kafka_server.bootstrap, name) as broker, asyncio.timeout(50):
        await answering(broker)
        await broker.publish(published)
        worker = await asyncio.to_thread(start_worker, kafka_server.bootstrap, name)
        worker.kill()
        worker.communicate()

        async with broker.consuming(CONSUMED):
            await receive_these(broker, {each.id for each in published})


WORKER = """
import asyncio, sys
from tests.brokers.test_kafka import a_broker
from tests.brokers.conformance import CONSUMED

async def work(bootstrap, name):
    async with a_broker(bootstrap, name) as broker, broker.consuming(CONSUMED):
        seen = 0
        while seen < 20:
            seen += len((await broker.receive("email", limit=5, more=False)).ids)
        print("all in hand", flush=True)
        await asyncio.sleep(60)

asyncio.run(work(*sys.argv[1:]))
"""


def start_worker(bootstrap: str, name: str) -> subprocess.Popen[str]:
    """Start a process that has everything in hand when this returns, and settles nothing."""
    command = [sys.executable, "-c", WORKER, bootstrap, name]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    for line in worker.stdout:
        if line.strip() == "all in hand":
            return worker
    raise AssertionError("it did not get its work")
