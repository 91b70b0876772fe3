"""Status events: one for each transition that others care for, handed over until it is safe."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import cycle
from typing import Any

import asyncpg
import pytest

from notification_service.adapters.stores.sql.engine import KEEP_STATUS_EVENTS
from notification_service.adapters.stores.sql.status_events import SqlStatusEvents
from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.notification import Backlog, Claim, Notification, Reason, Status
from notification_service.domain.status_events import StatusEvent
from tests.stores.house import House
from tests.stores.making import again, dead, delivered, held, lost, sent

pytestmark = pytest.mark.postgres


class Listener:
    """What is handed over to, and which of it is safe then."""

    def __init__(self) -> None:
        self.heard: list[StatusEvent] = []
        self.batches: list[list[int]] = []
        self.refused: set[int] = set()

    async def __call__(self, events: Sequence[StatusEvent]) -> frozenset[int]:
        numbers = [event.sequence for event in events]
        self.batches.append(numbers)
        self.heard += [event for event in events if event.sequence not in self.refused]
        return frozenset(numbers) - self.refused

    def of(self, notification: Notification) -> list[str]:
        """What was told of a notification, in the order it was told in."""
        return [event.event_type for event in self.heard if event.notification_id == notification.id]


@pytest.fixture
async def house(postgres_url: str) -> AsyncIterator[House]:
    async with House.open(postgres_url, status_events=True) as house:
        yield house


@pytest.fixture
def events(house: House) -> SqlStatusEvents:
    return SqlStatusEvents(house.database)


@pytest.fixture
async def rival(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another process, in the middle of its transaction."""
    connection = await asyncpg.connect(postgres_url, server_settings=KEEP_STATUS_EVENTS)
    yield connection
    await connection.close()


async def everything(events: SqlStatusEvents) -> Listener:
    """Hand over until nothing is left."""
    listener = Listener()
    while await events.hand_over(listener, limit=100):
        pass
    return listener


async def settle(house: House, *settlements: Any) -> None:
    assert len(await house.store.settle(settlements)) == len(settlements)


async def test_an_event_says_what_became_of_which_notification(house: House, events: SqlStatusEvents) -> None:
    claim = await house.add_and_claim(reference="order-7")
    await settle(house, dead(claim))

    [event] = (await everything(events)).heard

    assert event == StatusEvent(
        sequence=event.sequence,
        event_type="notification.failed",
        notification_id=claim.notification.id,
        user_id="ann",
        channel="email",
        status=Status.FAILED,
        status_reason=Reason.PROVIDER_REJECTED,
        retry_count=0,
        reference="order-7",
        occurred_at=event.occurred_at,
        correlation_id="correlation-1",
        traceparent=None,
    )
    assert abs(event.occurred_at - house.store.now()) < timedelta(seconds=5)


async def test_a_life_is_told_in_its_order(house: House, events: SqlStatusEvents) -> None:
    """Retried, lost by its worker, failed, retried by hand, sent, confirmed."""
    one = await house.add_one()
    await settle(house, again(await house.claim_one()))
    await settle(house, lost(await house.lose(await house.claim_one())))
    await settle(house, dead(await house.claim_one()))
    await house.archive.retry(one.id, by="root", status=Status.PENDING)
    await settle(house, sent(await house.claim_one()))
    await house.set(one.id, status="delivered")

    listener = await everything(events)

    assert listener.of(one) == [
        "notification.retry_scheduled",
        "notification.retry_scheduled",
        "notification.failed",
        "notification.sent",
        "notification.delivered",
    ]
    assert [event.retry_count for event in listener.heard] == [0, 1, 2, 3, 3]


async def test_whatever_ends_a_notification_is_told(house: House, events: SqlStatusEvents) -> None:
    cancelled = await house.add_one()
    await house.archive.cancel(cancelled.id)
    expired = await house.add_one(expires_at=house.store.now() - timedelta(seconds=1))
    await house.store.expire(limit=10)
    vouched = await house.add_and_claim()
    await settle(house, delivered(vouched))
    born_suppressed = await house.add_one(status=Status.SUPPRESSED)

    listener = await everything(events)

    assert listener.of(cancelled) == ["notification.cancelled"]
    assert listener.of(expired) == ["notification.expired"]
    assert listener.of(vouched.notification) == ["notification.delivered"]
    assert listener.of(born_suppressed) == ["notification.suppressed"]


async def test_what_is_merely_on_its_way_is_not_told(house: House, events: SqlStatusEvents) -> None:
    """Accepted, queued, claimed, held; nor an ending that came too late."""
    one = await house.add_one(status=Status.PENDING)
    await house.set(one.id, status="queued")
    claim = await house.claim_one()
    await settle(house, held(claim))
    await house.store.settle([sent(claim)])

    assert (await everything(events)).heard == []


async def test_off_nothing_is_kept(house: House, events: SqlStatusEvents, postgres_url: str) -> None:
    async with House.open(postgres_url) as silent:
        await settle(silent, sent(await silent.add_and_claim()))
        await silent.add_one(status=Status.SUPPRESSED)

    assert (await everything(events)).heard == []


async def test_a_transition_that_is_rolled_back_leaves_no_event(
    house: House, events: SqlStatusEvents, rival: asyncpg.Connection
) -> None:
    one = await house.add_one()
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("UPDATE notifications SET status = 'failed' WHERE id = $1", one.id)

    await transaction.rollback()

    assert (await everything(events)).heard == []


async def test_only_what_is_safe_is_forgotten(house: House, events: SqlStatusEvents) -> None:
    for _ in range(3):
        await settle(house, sent(await house.add_and_claim()))
    deaf = Listener()
    deaf.refused = {number for number in range(1, 1000) if number != 2}

    forgotten = await events.hand_over(deaf, limit=100)

    assert (deaf.batches, forgotten) == ([[1, 2, 3]], 1)
    assert [event.sequence for event in (await everything(events)).heard] == [1, 3]


async def test_an_event_waits_until_those_it_follows_are_safe(house: House, events: SqlStatusEvents) -> None:
    """Whatever the broker makes of a batch, it never gets the second before it has confirmed the first."""
    one = await house.add_one()
    await settle(house, again(await house.claim_one()))
    await settle(house, sent(await house.claim_one()))
    listener = Listener()
    listener.refused = {1}

    await events.hand_over(listener, limit=100)
    await events.hand_over(listener, limit=100)
    listener.refused = set()
    await events.hand_over(listener, limit=100)
    await events.hand_over(listener, limit=100)

    assert listener.batches == [[1], [1], [1], [2]]
    assert listener.of(one) == ["notification.retry_scheduled", "notification.sent"]


async def test_one_that_is_committed_late_is_not_missed(
    house: House, events: SqlStatusEvents, rival: asyncpg.Connection
) -> None:
    """Numbers are drawn before the commit: a smaller one may appear after a greater one is gone."""
    slow, quick = await house.add_one(), await house.add_one()
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("UPDATE notifications SET status = 'failed' WHERE id = $1", slow.id)
    await house.archive.cancel(quick.id)
    before = await everything(events)

    await transaction.commit()

    assert [event.sequence for event in before.heard] == [2]
    assert [event.sequence for event in (await everything(events)).heard] == [1]


async def test_the_oldest_come_first_and_never_more_than_asked_for(
    house: House, events: SqlStatusEvents
) -> None:
    for _ in range(5):
        await settle(house, sent(await house.add_and_claim()))
    listener = Listener()

    while await events.hand_over(listener, limit=2):
        pass

    assert listener.batches == [[1, 2], [3, 4], [5]]


async def test_while_one_announces_no_other_is_handed_anything(house: House, events: SqlStatusEvents) -> None:
    await settle(house, sent(await house.add_and_claim()))
    other = SqlStatusEvents((await house.another()).database)
    listener, overheard = Listener(), Listener()

    async def announcing(batch: Sequence[StatusEvent]) -> frozenset[int]:
        assert await other.hand_over(overheard, limit=100) == 0
        return await listener(batch)

    assert await events.hand_over(announcing, limit=100) == 1
    assert (listener.batches, overheard.batches) == ([[1]], [])


async def test_one_who_dies_announcing_leaves_everything_to_the_next_at_once(
    house: House, events: SqlStatusEvents
) -> None:
    await settle(house, sent(await house.add_and_claim()))
    other = SqlStatusEvents((await house.another()).database)
    began, never = asyncio.Event(), asyncio.Event()

    async def dying(_: Sequence[StatusEvent]) -> frozenset[int]:
        began.set()
        await never.wait()
        return frozenset()

    announcing = asyncio.create_task(other.hand_over(dying, limit=100))
    await began.wait()
    announcing.cancel()
    await asyncio.wait([announcing])

    assert len((await everything(events)).heard) == 1


async def test_one_who_freezes_announcing_is_relieved(house: House) -> None:
    """What it says afterwards changes nothing."""
    await settle(house, sent(await house.add_and_claim()))
    frozen = SqlStatusEvents(house.database, hold=timedelta(seconds=0.5))
    next_one = SqlStatusEvents((await house.another()).database)
    taken_over = Listener()

    async def freezing(events: Sequence[StatusEvent]) -> frozenset[int]:
        async with asyncio.timeout(5):
            while not await next_one.hand_over(taken_over, limit=100):  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.05)
        await settle(house, sent(await house.add_and_claim()))
        return frozenset(event.sequence for event in events)

    with pytest.raises(StoreUnavailableError):
        await frozen.hand_over(freezing, limit=100)

    assert taken_over.batches == [[1]]
    assert [event.sequence for event in (await everything(next_one)).heard] == [2]


async def test_the_oldest_tells_for_how_long_it_has_waited(house: House, events: SqlStatusEvents) -> None:
    assert await events.oldest() == timedelta()
    await settle(house, sent(await house.add_and_claim()))
    await asyncio.sleep(0.05)
    await settle(house, sent(await house.add_and_claim()))

    assert timedelta(seconds=0.05) <= await events.oldest() < timedelta(seconds=5)


async def test_many_are_told_at_least_once_and_in_order(
    house: House, events: SqlStatusEvents, postgres_url: str
) -> None:
    """Two workers settle while two relays announce, and every other event is not confirmed."""
    notifications = [await house.add_one() for _ in range(100)]
    told: dict[object, list[str]] = {one.id: [] for one in notifications}
    confirms = cycle([True, False])

    async def announcing(batch: Sequence[StatusEvent]) -> frozenset[int]:
        for event in batch:
            told[event.notification_id].append(f"{event.retry_count} {event.status}")
        await asyncio.sleep(0.001)
        return frozenset(event.sequence for event in batch if next(confirms))

    async def working(worker: House) -> None:
        while not done(await worker.store.backlog()):
            await worker.store.settle([_ending(claim) for claim in await worker.claim(limit=9)])

    async def relaying(relay: SqlStatusEvents) -> None:
        while not done(await house.store.backlog()) or await events.oldest():
            await relay.hand_over(announcing, limit=20)
            await asyncio.sleep(0.001)

    async with (
        House.open(postgres_url, status_events=True) as other,
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
    ):
        for each in (house, other):
            tasks.create_task(working(each))
            tasks.create_task(relaying(SqlStatusEvents(each.database)))

    assert all(numbers == sorted(numbers) for numbers in told.values())
    assert {tuple(sorted(set(each))) for each in told.values()} == {("0 pending", "1 pending", "2 sent")}
    assert sum(map(len, told.values())) > 300


def done(backlog: Backlog) -> bool:
    return backlog.pending + backlog.queued + backlog.sending == 0


def _ending(claim: Claim) -> Any:
    return again(claim) if claim.attempt < 3 else sent(claim)
