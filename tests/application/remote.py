"""A broker that holds the queue itself, in memory, with switches for everything that goes wrong with one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Self

from notification_service.domain.channels import CHANNEL_TYPES, ChannelType
from notification_service.domain.errors import BrokerUnavailableError
from notification_service.domain.events import Buried, Letter, Parcel
from notification_service.domain.notification import Notification, NotificationId, Status

FOREVER = 3600


@dataclass
class Entry:
    """One message: of ours when it has an id, else a letter."""

    place: int
    channel: ChannelType
    id: NotificationId | None = None
    letter: Letter | None = None
    times: int = 0


@dataclass
class Queue:
    """The server: what waits in it, what was handed out and not settled, and what it was ever given."""

    waiting: list[Entry] = field(default_factory=list)
    handed_out: list[Entry] = field(default_factory=list)
    given: Counter[NotificationId] = field(default_factory=Counter)
    doubled: list[NotificationId] = field(default_factory=list)
    """Given while it still lay there, or was with a worker."""
    buried: list[Buried] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    is_away = False
    hangs = False
    publishing_hangs = False
    burying_hangs = False
    loses_everything = False
    """It confirms and forgets."""
    refuses: frozenset[ChannelType] = frozenset()
    """Of these channels it confirms nothing."""
    takes_seconds = 0.0
    fails_with: BaseException | None = None
    places = count()

    async def answer(self, call: str) -> None:
        self.calls[call] += 1
        if self.hangs:
            await asyncio.sleep(FOREVER)
        if self.is_away:
            raise BrokerUnavailableError
        if self.fails_with:
            raise self.fails_with

    def add(self, channel: ChannelType, **what: NotificationId | Letter) -> None:
        self.waiting.append(Entry(next(self.places), channel, **what))  # type: ignore[arg-type]

    def put(self, channel: ChannelType, *bodies: bytes, **changes: str) -> None:
        """Messages of another producer."""
        for body in bodies:
            name = f"{channel}.queue/{next(self.places)}"
            self.add(channel, letter=Letter(**({"name": name, "source": channel, "body": body} | changes)))  # type: ignore[arg-type]

    def wipe(self) -> None:
        self.waiting.clear()
        self.handed_out.clear()

    @property
    def ids(self) -> set[NotificationId]:
        return {each.id for each in self.waiting + self.handed_out if each.id}


class RemoteBroker:
    """`Broker` as an adapter for such a server is: one process's way to it."""

    accepts_as = Status.PENDING

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._parcels: list[tuple[Parcel, list[Entry]]] = []
        self._before_last_look = -1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        await self.queue.answer("publish")
        await asyncio.sleep(FOREVER if self.queue.publishing_hangs else self.queue.takes_seconds)
        taken = [each for each in notifications if each.channel_type not in self.queue.refuses]
        self.queue.doubled += [each.id for each in taken if each.id in self.queue.ids]
        self.queue.given.update(each.id for each in taken)
        if not self.queue.loses_everything:
            for each in taken:
                self.queue.add(each.channel_type, id=each.id)
        return frozenset(each.id for each in taken)

    async def wake(self, channels: Iterable[ChannelType]) -> None:
        return None

    @asynccontextmanager
    async def consuming(self, channels: frozenset[ChannelType]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.give_back()

    def give_back(self) -> None:
        """What the server does when a consumer is gone: all it had comes again."""
        for _, entries in self._parcels:
            self.queue.handed_out = [each for each in self.queue.handed_out if each not in entries]
            self.queue.waiting = entries + self.queue.waiting
        self._parcels.clear()

    async def receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        while True:
            found = [each for each in self.queue.waiting if each.channel == channel][:limit]
            if found and not self.queue.is_away:
                return self._hand_out(found)
            await asyncio.sleep(0.005)

    def _hand_out(self, entries: list[Entry]) -> Parcel:
        for each in entries:
            each.times += 1
        self.queue.waiting = [each for each in self.queue.waiting if each not in entries]
        self.queue.handed_out += entries
        parcel = Parcel(
            ids=tuple(each.id for each in entries if each.id),
            letters=tuple(each.letter for each in entries if each.letter),
        )
        self._parcels.append((parcel, entries))
        return parcel

    async def settled(self, parcel: Parcel) -> None:
        for pair in [pair for pair in self._parcels if pair[0] is parcel]:
            self._parcels.remove(pair)
            self.queue.handed_out = [each for each in self.queue.handed_out if each not in pair[1]]

    async def drained(self) -> frozenset[ChannelType]:
        await self.queue.answer("drained")
        before, self._before_last_look = self._before_last_look, next(self.queue.places)
        left = self.queue.waiting + self.queue.handed_out
        full = {each.channel for each in left if each.place <= before}
        return frozenset(CHANNEL_TYPES).difference(full) if before >= 0 else frozenset()

    async def bury(self, dead: Sequence[Buried]) -> None:
        if self.queue.burying_hangs:
            await asyncio.sleep(FOREVER)
        await self.queue.answer("bury")
        self.queue.buried += dead

    async def check(self) -> str:
        await self.queue.answer("check")
        return "a queue in memory"
