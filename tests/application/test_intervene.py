"""What people do afterwards, on the real store: each within their rights, and workers hear of it."""

import asyncio
from datetime import timedelta

import pytest

from notification_service.application.intervene import Intervene
from notification_service.domain.errors import (
    ForbiddenError,
    InvalidStateError,
    NotFoundError,
    NotYourNotificationError,
)
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import DeadLetterId, Outcome, Status
from notification_service.domain.people import Principal, Role
from tests.application.workshop import Workshop
from tests.stores.making import new_id, sent

ANN, BOB, ROOT = Principal("ann"), Principal("bob"), Principal("root", Role.ADMIN)
OPEN = DeadLetterFilter()


@pytest.fixture
def intervene(workshop: Workshop) -> Intervene:
    return Intervene(
        archive=workshop.house.archive, dead_letters=workshop.house.dead_letters, broker=workshop.broker
    )


@pytest.mark.parametrize("caller", [ANN, ROOT])
async def test_the_owner_and_an_administrator_may_do_everything(
    workshop: Workshop, intervene: Intervene, caller: Principal
) -> None:
    waiting, failed = await workshop.add(), await workshop.house.add_dead(priority=9)

    read = await intervene.read(caller, waiting.id)
    history = await intervene.history(caller, failed.id)
    cancelled = await intervene.cancel(caller, waiting.id)
    retried = await intervene.retry(caller, failed.id)

    assert read.id == waiting.id
    assert [line.outcome for line in history] == [Outcome.PERMANENT_ERROR]
    assert (cancelled.status, retried.status) == (Status.CANCELLED, Status.QUEUED)


@pytest.mark.parametrize("action", ["read", "history", "cancel", "retry"])
async def test_a_stranger_may_do_nothing_and_changes_nothing(
    workshop: Workshop, intervene: Intervene, action: str
) -> None:
    for one in (await workshop.house.add_dead(), await workshop.add()):
        before = await workshop.house.row(one.id)

        with pytest.raises(NotYourNotificationError):
            await getattr(intervene, action)(BOB, one.id)

        assert await workshop.house.row(one.id) == before


@pytest.mark.parametrize("action", ["read", "history", "cancel", "retry"])
async def test_what_is_not_there_is_not_found(intervene: Intervene, action: str) -> None:
    with pytest.raises(NotFoundError):
        await getattr(intervene, action)(ROOT, new_id())


async def test_what_is_sent_or_cancelled_can_be_neither_cancelled_nor_retried(
    workshop: Workshop, intervene: Intervene
) -> None:
    claim = await workshop.house.add_and_claim()
    await workshop.store.settle([sent(claim)])
    waiting = await workshop.add()
    await intervene.cancel(ANN, waiting.id)

    for one in (claim.notification, waiting):
        for action in (intervene.cancel, intervene.retry):
            with pytest.raises(InvalidStateError):
                await action(ANN, one.id)


async def test_a_retry_wakes_a_waiting_worker(workshop: Workshop, intervene: Intervene) -> None:
    one = await workshop.house.add_dead()
    async with workshop.working():
        await asyncio.sleep(0.1)

        await intervene.retry(ANN, one.id)

        async with asyncio.timeout(0.7):
            await workshop.becomes(one.id, Status.SENT)


async def test_only_an_administrator_redrives(workshop: Workshop, intervene: Intervene) -> None:
    await workshop.house.add_dead()
    [letter] = await workshop.dead_letters()

    with pytest.raises(ForbiddenError):
        await intervene.redrive(ANN, letter.id)
    with pytest.raises(ForbiddenError):
        await intervene.redrive_matching(ANN, OPEN, limit=10)

    assert (await workshop.dead_letters()) == (letter,)


async def test_a_redriven_letter_names_who_did_it_and_is_sent(
    workshop: Workshop, intervene: Intervene
) -> None:
    one = await workshop.house.add_dead()
    [letter] = await workshop.dead_letters()
    async with workshop.working():
        await asyncio.sleep(0.1)

        redriven = await intervene.redrive(ROOT, letter.id)

        async with asyncio.timeout(0.7):
            await workshop.becomes(one.id, Status.SENT)
    assert (redriven.id, redriven.redriven_by) == (letter.id, "root")


async def test_a_letter_is_redriven_once(workshop: Workshop, intervene: Intervene) -> None:
    await workshop.house.add_dead()
    [letter] = await workshop.dead_letters()
    await intervene.redrive(ROOT, letter.id)

    with pytest.raises(InvalidStateError):
        await intervene.redrive(ROOT, letter.id)
    with pytest.raises(NotFoundError):
        await intervene.redrive(ROOT, DeadLetterId(new_id()))


async def test_redriving_by_filter_tells_how_many(workshop: Workshop, intervene: Intervene) -> None:
    for _ in range(3):
        await workshop.house.add_dead()
    later = DeadLetterFilter(since=workshop.store.now() + timedelta(hours=1))

    counts = [await intervene.redrive_matching(ROOT, where, limit=2) for where in (later, OPEN, OPEN, OPEN)]

    assert counts == [0, 2, 1, 0]
