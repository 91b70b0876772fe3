"""What a consumer received: in hand or waiting to be, and how far each partition is finished."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

import structlog
from aiokafka import TopicPartition

from notification_service.domain.channels import ChannelType
from notification_service.domain.events import Letter, Parcel, UnreadableEventError, read_event, read_object
from notification_service.domain.notification import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    NotificationId,
)

MOST_UNFINISHED = 500
"""Messages of one partition that wait or are in hand; with more, nothing more is fetched of it."""
MOST_OPEN = 10_000
"""Messages of one partition after the oldest unfinished one, finished or not."""
LONGEST_TOPIC = 100

log = structlog.get_logger(__name__)


class Ledger:
    """One partition for as long as it is ours: which messages are finished, and up to where all are."""

    __slots__ = ("_done", "_in_hand", "_open", "committed", "position")

    def __init__(self) -> None:
        """Nothing was received yet."""
        self._open: deque[int] = deque()
        self._in_hand: set[int] = set()
        self._done: set[int] = set()
        self.position: int | None = None
        """The offset after the last one received."""
        self.committed: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more should be fetched for now."""
        return len(self._open) - len(self._done) >= MOST_UNFINISHED or len(self._open) >= MOST_OPEN

    @property
    def has_some_in_hand(self) -> bool:
        """Whether something was handed out and not settled."""
        return bool(self._in_hand)

    def received(self, offset: int) -> None:
        """A message came; they come in order."""
        self._open.append(offset)
        self.position = offset + 1

    def handed_out(self, offset: int) -> None:
        """Somebody works on it."""
        self._in_hand.add(offset)

    def passed_over(self, offset: int) -> None:
        """There is nothing to do for it."""
        self._done.add(offset)

    def finish(self, offset: int) -> None:
        """It is settled; repeated, it changes nothing."""
        if offset in self._in_hand:
            self._in_hand.remove(offset)
            self._done.add(offset)

    def finished_up_to(self) -> int | None:
        """Return the offset before which everything is finished; None when nothing was received."""
        while self._open and self._open[0] in self._done:
            self._done.remove(self._open.popleft())
        return self._open[0] if self._open else self.position


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaParcel(Parcel):
    """A parcel that knows where its contents lay."""

    places: tuple[tuple[Ledger, int], ...] = ()


@dataclass(order=True, slots=True)
class _Waiting:
    rank: tuple[int, int]
    """The most urgent first, then the first that came."""
    content: NotificationId | Letter = field(compare=False)
    ledger: Ledger = field(compare=False)
    offset: int = field(compare=False)


class _Queue:
    """What waits of one channel."""

    def __init__(self) -> None:
        self.heap: list[_Waiting] = []
        self.some = asyncio.Event()

    def put(self, waiting: _Waiting) -> None:
        heappush(self.heap, waiting)
        self.some.set()

    def take(self, limit: int) -> list[_Waiting]:
        taken = [heappop(self.heap) for _ in range(min(limit, len(self.heap)))]
        self.keep(self.heap)
        return taken

    def keep(self, kept: Iterable[_Waiting]) -> None:
        self.heap = list(kept)
        heapify(self.heap)
        if not self.heap:
            self.some.clear()


class Inbox:
    """Sorts what comes by channel, hands it out, and keeps a ledger for each partition.

    Bounded, because of a partition whose ledger is full nothing more is fetched. Of our own events it keeps
    the id alone.
    """

    def __init__(self, channel_of: Callable[[str], ChannelType | None]) -> None:
        """`channel_of` gives the channel that a topic is of; None for a topic of several."""
        self.ledgers: dict[TopicPartition, Ledger] = {}
        self._channel_of = channel_of
        self._queues: dict[ChannelType, _Queue] = {}
        self._arrivals = count()
        self._settled = asyncio.Event()
        self._told_of: set[ChannelType] = set()

    def open(self, channels: Collection[ChannelType]) -> None:
        """Begin to sort for these channels."""
        self._queues = {channel: _Queue() for channel in sorted(channels)}

    def put(self, place: TopicPartition, records: Sequence[Any]) -> None:
        """Take what was fetched of a partition, in the order of its offsets."""
        for record in records:
            ledger = self._ledger(place, record.offset)
            ledger.received(record.offset)
            self._sort(ledger, record)

    async def take(self, channel: ChannelType, *, limit: int) -> KafkaParcel:
        """Wait until there is something of the channel and hand it out, the most urgent first."""
        queue = self._queues[channel]
        await queue.some.wait()
        taken = queue.take(limit)
        for each in taken:
            each.ledger.handed_out(each.offset)
        return KafkaParcel(
            ids=tuple(each.content for each in taken if not isinstance(each.content, Letter)),
            letters=tuple(each.content for each in taken if isinstance(each.content, Letter)),
            places=tuple((each.ledger, each.offset) for each in taken),
        )

    def settle(self, parcel: KafkaParcel) -> None:
        """Note that the parcel's contents are finished."""
        for ledger, offset in parcel.places:
            ledger.finish(offset)
        self._settled.set()

    def full(self) -> list[TopicPartition]:
        """Return the partitions of which nothing more should be fetched for now."""
        return [place for place, ledger in self.ledgers.items() if ledger.is_full]

    def withdraw(self) -> None:
        """Hand out nothing more of what waits: it goes to the partitions' next owner."""
        for queue in self._queues.values():
            queue.keep(())

    async def all_settled(self) -> None:
        """Wait until nothing is in hand."""
        while any(ledger.has_some_in_hand for ledger in self.ledgers.values()):
            self._settled.clear()
            await self._settled.wait()

    def clear(self) -> None:
        """Forget every partition; what is settled of them from now on has no effect."""
        self.withdraw()
        self.ledgers.clear()

    def _ledger(self, place: TopicPartition, offset: int) -> Ledger:
        ledger = self.ledgers.get(place)
        if ledger and ledger.position is not None and offset < ledger.position:
            self._drop(ledger)  # the partition was emptied and begins anew
            ledger = None
        if ledger is None:
            ledger = self.ledgers[place] = Ledger()
        return ledger

    def _drop(self, ledger: Ledger) -> None:
        for queue in self._queues.values():
            queue.keep(each for each in queue.heap if each.ledger is not ledger)

    def _sort(self, ledger: Ledger, record: Any) -> None:
        headers = {name: value.decode(errors="replace") for name, value in record.headers if value}
        content: NotificationId | Letter
        try:
            event = read_event(record.value or b"")
            channel, content = event.channel, event.notification_id
        except UnreadableEventError:
            channel, content = self._channel_of_letter(record), _letter(record, headers)
        queue = self._queues.get(channel)
        if queue is None:
            ledger.passed_over(record.offset)
            self._tell_of(channel, record.topic)
        else:
            rank = (-_priority(headers.get("priority")), next(self._arrivals))
            queue.put(_Waiting(rank, content, ledger, record.offset))

    def _channel_of_letter(self, record: Any) -> ChannelType:
        if channel := self._channel_of(record.topic):
            return channel
        try:
            named = read_object(record.value or b"").get("channel")
        except UnreadableEventError:
            named = None
        return next((channel for channel in self._queues if channel == named), next(iter(self._queues)))

    def _tell_of(self, channel: ChannelType, topic: str) -> None:
        """Once for each channel: its notification stays queued and is published again later."""
        if channel not in self._told_of:
            self._told_of.add(channel)
            log.warning("channel_not_consumed", channel=channel, topic=topic)


def _priority(text: str | None) -> int:
    try:
        return min(max(int(text or DEFAULT_PRIORITY), LOWEST_PRIORITY), HIGHEST_PRIORITY)
    except ValueError:
        return DEFAULT_PRIORITY


def _letter(record: Any, headers: dict[str, str]) -> Letter:
    return Letter(
        name=_name(record),
        source=record.topic,
        body=record.value or b"",
        key=record.key,
        correlation_id=headers.get("correlation-id"),
        traceparent=headers.get("traceparent"),
    )


def _name(record: Any) -> str:
    """Offsets begin anew in a topic that was made again; time and contents tell the messages apart."""
    digest = hashlib.sha256(record.topic.encode() + b"\0" + (record.value or b"")).hexdigest()[:16]
    place = f"{record.topic[:LONGEST_TOPIC]}-{record.partition}-{record.offset}"
    return f"kafka:{place}-{record.timestamp}-{digest}"
