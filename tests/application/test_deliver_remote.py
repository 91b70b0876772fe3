"""A worker with a broker: what it was handed is in its hands until it is written down."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from notification_service.application import deliver, publish, relay
from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.notification import NotificationId, Reason, Status
from tests.application.endings import hang, permanent
from tests.application.office import Office
from tests.application.remote import RemoteBroker
from tests.stores.house import until
from tests.stores.making import again

pytestmark = pytest.mark.usefixtures("hurried")


async def queued(office: Office, count: int = 1) -> list[NotificationId]:
    ids = await office.pending(count)
    await office.relay().publish_due(asyncio.Event())
    return ids


async def test_what_is_queued_is_sent_once_and_leaves_the_queue(office: Office) -> None:
    ids = await queued(office, 30)

    async with office.working(), office.working():
        await office.become(ids, Status.SENT)
        await until(lambda: not office.queue.ids)

    assert len(office.provider.taken) == 30


async def test_a_parcel_whose_claim_fails_is_claimed_when_the_store_answers(office: Office) -> None:
    """It is handed out once: who dropped it would leave it to the recovery, minutes later."""
    ids = await queued(office, 5)
    office.outage.is_on = True
    async with office.working():
        await until(lambda: office.store.claims > 3)
        assert set(office.queue.ids) == set(ids)
        office.outage.is_on = False

        await office.become(ids, Status.SENT)

    assert {each.times for each in office.queue.waiting} <= {1}


async def test_a_claim_that_fails_by_a_fault_of_ours_is_tried_again_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await queued(office)
    faults = iter([ValueError("a bug"), StoreUnavailableError(), KeyError("another")])
    claim = office.store.claim

    async def faulty(*arguments: object, **options: object) -> object:
        for fault in faults:
            raise fault
        return await claim(*arguments, **options)

    monkeypatch.setattr(office.store, "claim", faulty)

    async with office.working():
        await office.become(ids, Status.SENT)


async def test_a_worker_told_to_stop_while_the_store_is_away_gives_its_parcel_back(office: Office) -> None:
    ids = await queued(office, 3)
    office.outage.is_on = True

    async with asyncio.timeout(4), office.working():
        await until(lambda: office.store.claims > 1)

    assert not office.queue.handed_out
    office.outage.is_on = False
    async with office.working():
        await office.become(ids, Status.SENT)


async def test_nothing_is_settled_with_the_broker_before_the_store_has_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await queued(office)
    settle = office.store.settle
    left = []

    async def look_first(*arguments: object) -> object:
        left.append(set(office.queue.ids))
        return await settle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(office.store, "settle", look_first)

    async with office.working():
        await office.become(ids, Status.SENT)
        await until(lambda: not office.queue.ids)

    assert left == [set(ids)]


async def test_a_message_that_comes_twice_is_sent_once(office: Office) -> None:
    [one] = await queued(office)
    for _ in range(5):
        office.queue.add("email", id=one)

    async with office.working(), office.working():
        await until(lambda: not office.queue.ids)

    assert len(office.provider.taken) == 1


async def test_a_message_of_what_does_not_exist_or_is_done_is_dropped(office: Office) -> None:
    done = await office.pending()
    await office.house.archive.cancel(done[0])
    office.queue.add("email", id=done[0])
    office.queue.add("email", id=NotificationId(UUID(int=7)))
    ids = await queued(office)

    async with office.working():
        await office.become(ids, Status.SENT)
        await until(lambda: not office.queue.ids)

    assert len(office.provider.taken) == 1


async def test_a_killed_workers_messages_come_again_and_nothing_is_sent_twice(office: Office) -> None:
    ids = await queued(office, 4)
    office.provider.endings = [hang, hang]
    dying = RemoteBroker(office.queue)
    async with dying.consuming(frozenset({"email"})):
        parcel = await dying.receive("email", limit=2, more=True)
        await office.store.claim("email", limit=2, lease=timedelta(minutes=1), ids=parcel.ids)
    office.provider.endings = []

    async with office.working():
        await until(lambda: not office.queue.ids)

    assert {each.notification_id for each in office.provider.taken} == set(ids[2:])
    assert await office.statuses(ids[:2]) == {Status.SENDING}  # the sweeper's


@pytest.mark.parametrize("turns", ["burying_hangs", "is_away"])
async def test_a_dead_letter_that_cannot_be_mirrored_is_settled_all_the_same(
    office: Office, turns: str
) -> None:
    ids = await queued(office, 3)
    office.provider.endings = [permanent(), permanent(), permanent()]
    broker = RemoteBroker(office.queue)
    async with office.working(broker):
        await until(lambda: len(office.queue.handed_out) == 3)
        setattr(office.queue, turns, True)

        await office.become(ids, Status.FAILED)
        setattr(office.queue, turns, False)
        await until(lambda: not office.queue.handed_out)

    assert len(await office.dead_letters()) == 3


async def test_the_dead_are_shown_in_the_brokers_own_queue(office: Office) -> None:
    ids = await queued(office)
    office.provider.endings = [permanent()]

    async with office.working():
        await office.become(ids, Status.FAILED)
        await until(lambda: bool(office.queue.buried))

    [dead] = office.queue.buried
    assert (dead.reason, dead.key, dead.correlation_id) == (
        Reason.PROVIDER_REJECTED,
        b"ann",
        "correlation-1",
    )
    assert str(ids[0]).encode() in dead.body


async def test_a_retry_travels_through_the_queue_again(office: Office) -> None:
    ids = await queued(office)
    claims = await office.house.claim()
    office.queue.wipe()
    await office.store.settle([again(each) for each in claims])

    async with office.relaying(relays=2), office.working():
        await office.become(ids, Status.SENT)

    assert office.queue.given[ids[0]] == 2


def test_the_patiences_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay doesn't publish what another still may, nor a recovery what a worker still tries to claim."""
    monkeypatch.undo()  # the real ones

    assert relay.HOLD > relay.PATIENCE
    assert publish.HOLD > publish.PATIENCE
    assert relay.AFTER_OUTAGE > 4 * deliver.AGAIN
