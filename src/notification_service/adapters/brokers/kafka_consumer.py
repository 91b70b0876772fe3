"""A worker's place in the consumer group, taken anew whenever it is lost."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from notification_service.adapters.brokers.kafka_access import KafkaAccess, Outage, close_consumer, ended
from notification_service.adapters.brokers.kafka_admin import Extent, KafkaAdmin
from notification_service.adapters.brokers.kafka_inbox import Inbox
from notification_service.domain.errors import BrokerUnavailableError

FETCH_WAIT = timedelta(seconds=0.2)
FETCH_RECORDS = 500
FETCH_BYTES = 524_288
COMMIT_INTERVAL = timedelta(seconds=0.3)
COMMIT_PATIENCE = timedelta(seconds=3)
DRAIN = timedelta(seconds=5)
"""How long a rebalance waits for what is in hand."""
SESSION = timedelta(seconds=10)
HEARTBEAT = timedelta(seconds=1)
"""Also how late a member learns that somebody came or left."""
REBALANCE = timedelta(seconds=20)
"""How long the group waits for a member: longer than draining and committing take."""
REQUEST_TIMEOUT = REBALANCE + timedelta(seconds=5)
LOOK = timedelta(seconds=5)
STUCK_LOOKS = 3
"""Seen so often in one place with something to fetch, the consumer is replaced. Counted in looks, not in
seconds: a process that was frozen has not looked."""
JOINING = timedelta(seconds=60)
"""Without a place in the group for so long, too."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=0.2), timedelta(seconds=2)

log = structlog.get_logger(__name__)


class ConsumerStuckError(Exception):
    """the consumer makes no progress although there is something to fetch"""


@dataclass(slots=True)
class _Stand:
    """Where the consumer stands in a partition, and how often it was seen there with something to fetch."""

    position: int | None
    looks: int = 0


class KafkaMember(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka brings no types
    """Fills the inbox and commits what is finished, for as long as `run` runs.

    One consumer for all topics. It is never trusted to know that it has stopped: aiokafka's can lose its
    coordinator or a task of its own and wait for ever. The watch compares it with what the cluster holds.
    """

    def __init__(
        self,
        access: KafkaAccess,
        admin: KafkaAdmin,
        outage: Outage,
        inbox: Inbox,
        *,
        topics: Sequence[str],
        group: str,
    ) -> None:
        """Consume `topics` as a member of `group`."""
        self._access = access
        self._admin = admin
        self._outage = outage
        self._inbox = inbox
        self._topics = topics
        self._group = group
        self._consumer: AIOKafkaConsumer | None = None
        self._paused: set[TopicPartition] = set()
        self._committing = asyncio.Lock()
        self._joining_since: float | None = None
        self._seen: set[str] = set()
        self._gone: set[str] = set()
        self._stands: dict[TopicPartition, _Stand] = {}

    async def run(self) -> None:
        """Consume until cancelled; then commit and leave the group."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            # In a task of its own: aiokafka lets the cancelling of its own tasks out as if it were ours.
            attempt = asyncio.create_task(self._consume())
            try:
                await asyncio.wait([attempt])
            finally:
                await ended(attempt)
            self._tell(attempt)
            if time.monotonic() - began > LOOK.total_seconds():
                pause = FIRST_PAUSE
            await asyncio.sleep(pause.total_seconds())
            pause = min(2 * pause, LONGEST_PAUSE)

    def relieved(self) -> None:
        """Something was settled: fetch again where there is room."""
        if not self._paused or self._consumer is None:
            return
        full = set(self._inbox.full())
        for place in self._paused - full:
            with suppress(IllegalStateError):
                self._consumer.resume(place)
        self._paused &= full

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Hand out nothing more, wait a while for what is in hand, commit, and let go of everything."""
        self._joining_since = time.monotonic()
        if self._consumer:
            self._note_what_is_gone(self._consumer)
        self._inbox.withdraw()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN.total_seconds()):
                await self._inbox.all_settled()
        await self._try_to_commit()
        self._let_go()
        if places := set(revoked):
            log.info("partitions_revoked", count=len(places), group=self._group)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin at the committed offsets."""
        self._let_go()
        self._joining_since = None
        places = set(assigned)
        if self._consumer:
            await self._begin_anew(self._consumer, places)
        log.info("partitions_assigned", count=len(places), group=self._group)

    async def _consume(self) -> None:
        await self._admin.make_missing(self._topics)
        consumer = self._new_consumer()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT.total_seconds()):
                await consumer.start()
            self._joining_since = time.monotonic()
            self._consumer, self._seen = consumer, set()
            consumer.subscribe(self._topics, listener=self)
            self._outage.reached("consumer")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fetch(consumer))
                tasks.create_task(self._commit_now_and_then())
                tasks.create_task(self._watch(consumer))
        finally:
            await self._leave(consumer)

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._access.arguments(request_timeout=REQUEST_TIMEOUT),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=_milliseconds(SESSION),
            heartbeat_interval_ms=_milliseconds(HEARTBEAT),
            rebalance_timeout_ms=_milliseconds(REBALANCE),
        )

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        self._inbox.withdraw()
        await self._try_to_commit()
        self._consumer = None
        self._let_go()
        await close_consumer(consumer)

    def _let_go(self) -> None:
        self._inbox.clear()
        self._paused.clear()
        self._stands.clear()

    def _tell(self, attempt: asyncio.Task[None]) -> None:
        if attempt.cancelled() or not (error := attempt.exception()):
            return
        error = _first(error)
        if not isinstance(error, ConsumerStuckError):  # which has told already
            self._outage.lost("consumer", str(self._access.unavailable(error)))

    # --- fetch

    async def _fetch(self, consumer: AIOKafkaConsumer) -> None:
        """Go on asking even when everything is full: whoever doesn't ask is put out of the group."""
        while True:
            fetched = await consumer.getmany(timeout_ms=_milliseconds(FETCH_WAIT), max_records=FETCH_RECORDS)
            self._note_what_is_gone(consumer)
            for place, records in fetched.items():
                self._inbox.put(place, records)
            if fetched:
                self._outage.reached("consumer")
            if full := set(self._inbox.full()) - self._paused:
                consumer.pause(*full)
                self._paused |= full

    def _note_what_is_gone(self, consumer: AIOKafkaConsumer) -> None:
        there = {topic for topic in self._topics if consumer.partitions_for_topic(topic)}
        self._gone |= self._seen - there
        self._seen = there

    async def _begin_anew(self, consumer: AIOKafkaConsumer, assigned: set[TopicPartition]) -> None:
        """Offsets of a topic that was gone mean nothing, and the cluster may still know the old ones."""
        anew = [place for place in assigned if place.topic in self._gone]
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_PATIENCE.total_seconds()):
                if anew:
                    await consumer.seek_to_beginning(*anew)
                self._gone.clear()

    # --- commit

    async def _commit_now_and_then(self) -> None:
        failing_since: float | None = None
        while True:
            await asyncio.sleep(COMMIT_INTERVAL.total_seconds())
            if await self._try_to_commit():
                failing_since = None
                continue
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > JOINING.total_seconds():
                log.warning("consumer_stuck", why="commits fail", group=self._group)
                raise ConsumerStuckError

    async def _try_to_commit(self) -> bool:
        """Whether what is finished is known to the cluster; what isn't committed comes again."""
        try:
            async with asyncio.timeout(COMMIT_PATIENCE.total_seconds()), self._committing:
                await self._commit()
        except (KafkaError, OSError):
            return False
        return True

    async def _commit(self) -> None:
        finished = {place: ledger.finished_up_to() for place, ledger in self._inbox.ledgers.items()}
        ledgers = dict(self._inbox.ledgers)
        new = {
            place: offset
            for place, offset in finished.items()
            if offset is not None and offset != ledgers[place].committed
        }
        if new and self._consumer:
            await self._consumer.commit(new)
            for place, offset in new.items():
                ledgers[place].committed = offset

    # --- watch

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(LOOK.total_seconds())
            try:
                extents = await self._admin.extents(self._topics)
            except BrokerUnavailableError as error:
                self._outage.lost("consumer", str(error))
                self._stands.clear()
                if self._joining_since:
                    self._joining_since = time.monotonic()
                continue
            self._outage.reached("consumer")
            await self._look(consumer, extents)

    async def _look(self, consumer: AIOKafkaConsumer, extents: dict[TopicPartition, Extent]) -> None:
        """Raise `ConsumerStuckError` when the consumer stands still while there is something to fetch."""
        if self._joining_since:
            if time.monotonic() - self._joining_since > JOINING.total_seconds():
                log.warning("consumer_stuck", why="no place in the group", group=self._group)
                raise ConsumerStuckError
            return
        for place in self._paused:
            self._stands.pop(place, None)
        for place in consumer.assignment() - self._paused:
            position = await _position(consumer, place)
            end = extents[place].end if place in extents else 0
            stand = self._stands.get(place)
            if end <= (position or 0) or stand is None or stand.position != position:
                self._stands[place] = _Stand(position)
                continue
            stand.looks += 1
            if stand.looks >= STUCK_LOOKS:
                lag = end - (position or 0)
                log.warning("consumer_stuck", topic=place.topic, partition=place.partition, lag=lag)
                raise ConsumerStuckError


async def _position(consumer: AIOKafkaConsumer, place: TopicPartition) -> int | None:
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(0.1):
            return int(await consumer.position(place))
    return None


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _milliseconds(time: timedelta) -> int:
    return round(time.total_seconds() * 1000)
