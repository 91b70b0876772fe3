"""Several workers, one group: what is committed, who gets what, and what happens to a consumer that stops."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from structlog.testing import capture_logs

from notification_service.adapters.brokers import kafka_consumer
from notification_service.adapters.brokers.kafka import KafkaBroker, SharedTopicError
from notification_service.adapters.brokers.kafka_inbox import MOST_UNFINISHED, KafkaParcel
from notification_service.domain.channels import ChannelType
from notification_service.domain.events import Parcel, write_event
from notification_service.domain.notification import Notification, NotificationId
from tests.brokers.conformance import CONSUMED, PATIENCE, a_dead_one, answering
from tests.brokers.test_kafka import a_broker, a_producer, read
from tests.services.kafka import KafkaServer
from tests.stores.making import a_notification


class Group:
    """Brokers of one test, with topics and a group of their own."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.name = uuid.uuid4().hex

    def broker(self, *, partitions: int = 3, topic: str = "{name}") -> KafkaBroker:
        return a_broker(self.bootstrap, self.name, partitions=partitions, topic=topic)

    async def committed(self, broker: KafkaBroker, partition: int = 0) -> int | None:
        extents = await broker._admin.extents([self.name])
        return extents[TopicPartition(self.name, partition)].committed


@pytest.fixture
def group(kafka_server: KafkaServer) -> Group:
    return Group(kafka_server.bootstrap)


async def receive(broker: KafkaBroker, channel: ChannelType = "email", *, limit: int = 100) -> Parcel:
    async with asyncio.timeout(PATIENCE):
        return await broker.receive(channel, limit=limit, more=False)


async def receive_all(broker: KafkaBroker, count: int, *, channel: ChannelType = "email") -> None:
    """Receive and settle so many."""
    while count > 0:
        parcel = await receive(broker, channel)
        count -= len(parcel.ids or ())
        await broker.settled(parcel)


async def one_by_one(broker: KafkaBroker, count: int) -> list[Parcel]:
    return [await receive(broker, limit=1) for _ in range(count)]


async def until[T](question: Callable[[], Awaitable[T]], answer: T) -> None:
    while True:
        if await question() == answer:
            return
        await asyncio.sleep(0.1)


def notifications(count: int, *, channel: ChannelType = "email") -> list[Notification]:
    return [a_notification(user_id=f"user-{number}", channel_type=channel) for number in range(count)]


def ids(parcels: Sequence[Parcel]) -> list[NotificationId]:
    return [each for parcel in parcels for each in parcel.ids or ()]


# --- commits


async def test_only_the_finished_prefix_of_a_partition_is_committed(group: Group) -> None:
    published = notifications(5)
    async with group.broker(partitions=1) as broker:
        await answering(broker)
        await broker.publish(published)
        async with broker.consuming(CONSUMED):
            parcels = await one_by_one(broker, 5)
            for number in (4, 3, 0, 1):
                await broker.settled(parcels[number])

        assert await group.committed(broker) == 2
        async with broker.consuming(CONSUMED):
            again = await one_by_one(broker, 3)

    assert ids(again) == [each.id for each in published[2:]]


async def test_commits_come_while_consuming_and_not_only_at_its_end(group: Group) -> None:
    async with group.broker(partitions=1) as broker:
        await answering(broker)
        await broker.publish(notifications(3))
        async with broker.consuming(CONSUMED), asyncio.timeout(PATIENCE):
            await receive_all(broker, 3)
            await until(lambda: group.committed(broker), 3)


async def test_an_event_of_a_channel_that_nobody_serves_holds_nothing_up(group: Group) -> None:
    mine = a_notification()
    async with group.broker(partitions=1) as broker, a_producer(group.bootstrap) as producer:
        await answering(broker)
        with capture_logs() as lines:
            for _ in range(2):
                event = write_event(a_notification(channel_type="push"))
                await producer.send_and_wait(group.name, event)
            await broker.publish([mine])
            async with broker.consuming(CONSUMED):
                parcel = await receive(broker)
                await broker.settled(parcel)

        assert parcel.ids == (mine.id,)
        assert await group.committed(broker) == 3
    assert [line["channel"] for line in lines if line["event"] == "channel_not_consumed"] == ["push"]


async def test_what_is_settled_after_the_partition_was_let_go_is_not_committed(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next owner has it in hand and has not finished it."""
    monkeypatch.setattr(kafka_consumer, "DRAIN", timedelta(seconds=0.1))
    async with group.broker(partitions=1) as one, group.broker(partitions=1) as other:
        await answering(one)
        await answering(other)
        await one.publish(notifications(3))
        async with one.consuming(CONSUMED):
            parcels = await one_by_one(one, 3)
            async with other.consuming(CONSUMED):
                again = await either(one, other)
                assert ids(again) == ids(parcels)
                for parcel in parcels:
                    await one.settled(parcel)
                await asyncio.sleep(1)

                assert not await group.committed(one)


async def either(*brokers: KafkaBroker) -> list[Parcel]:
    """Receive three parcels from whoever got the partition."""
    tasks = [asyncio.create_task(one_by_one(broker, 3)) for broker in brokers]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return done.pop().result()


# --- rebalances


async def test_workers_that_come_and_go_under_load_lose_nothing_and_repeat_little(group: Group) -> None:
    received: Counter[NotificationId] = Counter()
    published: list[Notification] = []
    busy = asyncio.Event()
    busy.set()

    async def publish(broker: KafkaBroker) -> None:
        while busy.is_set():
            some = notifications(20)
            assert len(await broker.publish(some)) == 20
            published.extend(some)
            await asyncio.sleep(0.05)

    async def work(broker: KafkaBroker) -> None:
        while True:
            parcel = await broker.receive("email", limit=10, more=False)
            try:
                await asyncio.sleep(0.01)
            finally:  # as a worker does that is told to stop
                received.update(parcel.ids or ())
                await broker.settled(parcel)

    async def work_for(seconds: float) -> None:
        async with group.broker() as broker, broker.consuming(CONSUMED):
            working = asyncio.create_task(work(broker))
            await asyncio.sleep(seconds)
            working.cancel()
            await asyncio.wait([working])

    async with group.broker() as relay, asyncio.timeout(50):
        await answering(relay)
        publishing = asyncio.create_task(publish(relay))
        async with asyncio.TaskGroup() as workers:
            steady = workers.create_task(work_for(40))
            for seconds in (3, 5, 2):
                await asyncio.sleep(1)
                workers.create_task(work_for(seconds))
            await asyncio.sleep(6)
            busy.clear()
            await publishing
            while len(received) < len(published):  # noqa: ASYNC110 - two things change it
                await asyncio.sleep(0.1)
            steady.cancel()

    assert set(received) == {each.id for each in published}
    assert sum(received.values()) - len(received) <= 0.02 * len(published)


async def test_a_rebalance_waits_for_what_is_in_hand(group: Group) -> None:
    async with group.broker(partitions=2) as one, group.broker(partitions=2) as other:
        await answering(one)
        await answering(other)
        async with one.consuming(CONSUMED):
            await one.publish(notifications(20))
            parcels = [await receive(one)]
            while len(ids(parcels)) < 20:
                parcels.append(await receive(one))
            async with other.consuming(CONSUMED):
                await asyncio.sleep(2)
                for parcel in parcels:
                    await one.settled(parcel)

                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(5):
                        await asyncio.wait(
                            [
                                asyncio.create_task(each.receive("email", limit=1, more=False))
                                for each in (one, other)
                            ],
                            return_when=asyncio.FIRST_COMPLETED,
                        )


# --- channels


async def test_some_channels_of_a_topic_of_all_cannot_be_consumed(group: Group) -> None:
    async with group.broker() as broker:
        with pytest.raises(SharedTopicError, match=r"put \{channel\} into NS_KAFKA_TOPIC"):
            async with broker.consuming(frozenset({"email"})):
                pass


async def test_some_channels_with_topics_of_their_own_can(group: Group) -> None:
    async with group.broker(topic="{name}.{channel}") as broker:
        await answering(broker)
        await broker.publish(notifications(1))
        async with broker.consuming(frozenset({"email"})):
            await receive_all(broker, 1)


async def test_a_channel_that_stands_still_takes_no_more_than_its_share_of_memory(group: Group) -> None:
    async with group.broker(partitions=2) as broker:
        await answering(broker)
        for _ in range(8):
            await broker.publish(notifications(500, channel="sms"))
        async with broker.consuming(CONSUMED):
            await receive(broker, "sms", limit=1)
            await asyncio.sleep(3)

            waiting = len(broker._inbox._queues["sms"].heap)
            assert MOST_UNFINISHED <= waiting <= 2 * (MOST_UNFINISHED + kafka_consumer.FETCH_RECORDS)
            await receive_all(broker, 3_900, channel="sms")


async def test_a_channel_with_a_topic_of_its_own_never_waits_for_another(group: Group) -> None:
    async with group.broker(partitions=2, topic="{name}.{channel}") as broker:
        await answering(broker)
        for _ in range(8):
            await broker.publish(notifications(500, channel="sms"))
        async with broker.consuming(CONSUMED):
            await receive(broker, "sms", limit=1)
            await broker.publish(notifications(3_000))

            await receive_all(broker, 3_000)


# --- drained


async def test_under_constant_load_a_channel_that_keeps_up_is_drained(group: Group) -> None:
    async with group.broker() as broker, asyncio.timeout(PATIENCE):
        await answering(broker)
        async with broker.consuming(CONSUMED):

            async def load() -> None:
                while True:
                    await broker.publish(notifications(5))
                    await receive_all(broker, 5)

            loading = asyncio.create_task(load())
            await broker.drained()
            while True:
                if "email" in await broker.drained():
                    break
                await asyncio.sleep(1)
            loading.cancel()


# --- what is on the wire


async def test_a_message_has_its_user_as_key_and_says_what_it_is(group: Group) -> None:
    notification = a_notification(priority=8)
    async with group.broker() as broker:
        await answering(broker)
        await broker.publish([notification])

    (record,) = await read(group.bootstrap, group.name, 1)

    assert record.key == notification.user_id.encode()
    assert record.value == write_event(notification)
    headers = dict(record.headers)
    assert headers["priority"] == b"8"
    assert headers["content-type"] == b"application/json"
    assert headers["correlation-id"] == notification.trail.correlation_id.encode()


async def test_messages_of_a_user_lie_where_any_client_of_kafka_puts_them(group: Group) -> None:
    async with (
        group.broker(partitions=7) as broker,
        AIOKafkaProducer(bootstrap_servers=group.bootstrap) as producer,
    ):
        await answering(broker)
        for number in range(20):
            user = f"user-{number}"
            await broker.publish([a_notification(user_id=user)])
            await producer.send_and_wait(group.name, b"{}", key=user.encode())

    places: dict[bytes, set[int]] = {}
    for record in await read(group.bootstrap, group.name, 40):
        places.setdefault(record.key, set()).add(record.partition)
    assert {len(partitions) for partitions in places.values()} == {1}


async def test_a_dead_letter_keeps_its_key(group: Group) -> None:
    dead = a_dead_one()
    async with group.broker() as broker:
        await answering(broker)
        await broker.bury([dead])

    (record,) = await read(group.bootstrap, f"{group.name}.DLQ", 1)

    assert (record.key, record.value) == (dead.key, dead.body)
    assert dict(record.headers)["dlq-reason"] == str(dead.reason).encode()


# --- a consumer that stops


async def test_a_consumer_that_silently_stops_says_so_and_is_replaced(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "LOOK", timedelta(seconds=0.5))
    late = notifications(3)
    async with group.broker(partitions=1) as broker:
        await answering(broker)
        await broker.publish(notifications(3))
        with capture_logs() as lines:
            async with broker.consuming(CONSUMED):
                await receive_all(broker, 3)
                assert broker._member
                assert broker._member._consumer
                broker._member._consumer._fetcher._fetch_task.cancel()
                await broker.publish(late)

                parcels = await one_by_one(broker, 3)

    assert ids(parcels) == [each.id for each in late]
    (line,) = [line for line in lines if line["event"] == "consumer_stuck"]
    assert (line["topic"], line["partition"], line["lag"]) == (group.name, 0, 3)


async def test_a_consumer_that_has_nothing_to_do_is_left_alone(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an empty partition nor one that waits for a slow channel is stuck."""
    monkeypatch.setattr(kafka_consumer, "LOOK", timedelta(seconds=0.2))
    async with group.broker(partitions=2) as broker:
        await answering(broker)
        await broker.publish([a_notification() for _ in range(MOST_UNFINISHED + 600)])
        with capture_logs() as lines:
            async with broker.consuming(CONSUMED):
                await receive(broker, limit=1)
                await asyncio.sleep(4)

    assert not [line for line in lines if line["event"] == "consumer_stuck"]


async def test_a_parcel_of_another_broker_changes_nothing(group: Group) -> None:
    async with group.broker() as broker:
        await broker.settled(Parcel())
        await broker.settled(KafkaParcel())
