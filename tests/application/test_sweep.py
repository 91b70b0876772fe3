"""What time has overtaken is put right, on the real store and broker."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import structlog

from notification_service.application import sweep as sweeping
from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.notification import Claim, Outcome, Reason, Status
from notification_service.domain.retry import RetryPolicy
from tests.application.workshop import AT_ONCE, Workshop
from tests.stores.house import AN_HOUR, until
from tests.stores.making import a_key, a_notification, sent

HOLDING = RetryPolicy(max_retries=3, schedule=(timedelta(),), hold_ambiguous=True)


async def lose_all(workshop: Workshop) -> Sequence[Claim]:
    """Claim everything and let every lease run out."""
    return await workshop.house.claim(limit=10_000, lease=timedelta(seconds=-1))


async def test_a_lost_claim_is_due_again_and_its_attempt_counts(workshop: Workshop) -> None:
    one = await workshop.add()
    await lose_all(workshop)

    await workshop.sweep().once()

    swept = await workshop.house.get(one.id)
    [line] = await workshop.history(one)
    assert (swept.status, swept.status_reason) == (Status.PENDING, Reason.LEASE_EXPIRED)
    assert (swept.attempts, swept.retry_count) == (1, 0)
    assert (line.kind, line.outcome, line.error_code) == ("attempt", Outcome.UNKNOWN, "lease_expired")
    assert (await workshop.house.claim_one()).notification.id == one.id


async def test_a_claim_whose_lease_holds_is_left_alone(workshop: Workshop) -> None:
    claim = await workshop.house.add_and_claim()

    await workshop.sweep().once()

    assert await workshop.house.status(claim.notification.id) is Status.SENDING


async def test_a_notification_lost_again_and_again_becomes_a_dead_letter(workshop: Workshop) -> None:
    """One that kills its worker each time may not do so for ever."""
    one = await workshop.add()
    for _ in range(AT_ONCE.max_retries + 1):
        assert await lose_all(workshop)

        await workshop.sweep().once()

    swept = await workshop.house.get(one.id)
    [letter] = await workshop.dead_letters()
    assert (swept.status, swept.status_reason) == (Status.FAILED, Reason.RETRIES_EXHAUSTED)
    assert (swept.attempts, letter.attempts) == (4, 4)


async def test_a_lost_claim_of_a_channel_that_holds_is_a_dead_letter_at_once(workshop: Workshop) -> None:
    workshop.policy = HOLDING
    one = await workshop.add()
    await lose_all(workshop)

    await workshop.sweep().once()

    swept = await workshop.house.get(one.id)
    assert (swept.status, swept.status_reason) == (Status.FAILED, Reason.AMBIGUOUS)
    assert len(await workshop.dead_letters()) == 1


async def test_an_ending_told_after_the_sweep_is_written_down_and_changes_nothing(workshop: Workshop) -> None:
    one = await workshop.add()
    [slow] = await lose_all(workshop)
    await workshop.sweep().once()

    effective = await workshop.store.settle([sent(slow)])

    assert effective == frozenset()
    assert await workshop.house.status(one.id) is Status.PENDING
    outcomes = [line.outcome for line in await workshop.history(one)]
    assert outcomes == [Outcome.UNKNOWN, Outcome.DELIVERED]


async def test_more_lost_claims_than_one_batch_are_all_released(workshop: Workshop) -> None:
    count = sweeping.BATCH + 50
    await workshop.house.add(*(a_notification() for _ in range(count)))
    await lose_all(workshop)

    await workshop.sweep().once()

    backlog = await workshop.store.backlog()
    assert (backlog.pending, backlog.sending) == (count, 0)


async def test_two_sweepers_at_once_release_each_claim_once(workshop: Workshop) -> None:
    ones = await workshop.house.add(*(a_notification() for _ in range(30)))
    await lose_all(workshop)

    await asyncio.gather(workshop.sweep().once(), workshop.sweep().once())

    for one in ones:
        assert (await workshop.house.get(one.id)).attempts == 1
        assert len(await workshop.history(one)) == 1


async def test_waiting_workers_are_woken_for_what_was_released(workshop: Workshop) -> None:
    one = await workshop.add()
    await lose_all(workshop)
    async with workshop.working():
        await asyncio.sleep(0.05)

        await workshop.sweep().once()

        async with asyncio.timeout(0.7):
            await workshop.becomes(one.id, Status.SENT)


async def test_a_lost_claim_past_its_expiry_expires(workshop: Workshop) -> None:
    one = await workshop.add(expires_at=workshop.store.now() + timedelta(milliseconds=60))
    await lose_all(workshop)
    await asyncio.sleep(0.08)

    await workshop.sweep().once()

    assert await workshop.house.status(one.id) is Status.EXPIRED
    assert [line.outcome for line in await workshop.history(one)] == [Outcome.UNKNOWN, Outcome.EXPIRED]


async def test_old_keys_are_forgotten_and_expired_notifications_expire(workshop: Workshop) -> None:
    await workshop.house.add_with_key(a_key())
    await workshop.house.let_keys_expire()
    past = workshop.store.now() - AN_HOUR
    ones = await workshop.house.add(*(a_notification(expires_at=past) for _ in range(sweeping.BATCH + 1)))

    await workshop.sweep().once()

    assert await workshop.house.keys() == 0
    assert await workshop.house.status(ones[0].id) is Status.EXPIRED
    assert await workshop.store.expire(limit=5) == 0


async def test_a_sweep_that_fails_is_tried_again_until_it_is_told_to_stop(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [StoreUnavailableError(), ValueError("a bug")]
    original = workshop.store.lost_claims

    async def failing(*, limit: int) -> Any:
        if failures:
            raise failures.pop()
        return await original(limit=limit)

    monkeypatch.setattr(workshop.store, "lost_claims", failing)
    monkeypatch.setattr(sweeping, "AFTER_OUTAGE", timedelta())
    one = await workshop.add()
    await lose_all(workshop)
    stopping = asyncio.Event()

    running = asyncio.create_task(workshop.sweep().run(stopping=stopping))
    await workshop.becomes(one.id, Status.PENDING)
    stopping.set()

    async with asyncio.timeout(0.5):
        await running
    assert failures == []


async def test_after_an_outage_those_who_know_an_ending_may_tell_it_first(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every lease ran out meanwhile: releasing at once would send again what its worker knows to be sent."""
    await workshop.add()
    [claim] = await lose_all(workshop)
    sweep = workshop.sweep()
    with monkeypatch.context() as outage:
        outage.setattr(workshop.store, "lost_claims", _away)
        await sweep.once()

    await sweep.once()
    told = await workshop.store.settle([sent(claim)])

    assert told == {claim.notification.id}
    assert await workshop.house.status(claim.notification.id) is Status.SENT


async def test_what_stops_one_step_stops_no_other(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row nobody can read among the lost claims must not keep others from expiring."""
    past = workshop.store.now() - timedelta(seconds=1)
    one = await workshop.house.add_one(expires_at=past)
    monkeypatch.setattr(workshop.store, "lost_claims", _unreadable)

    await workshop.sweep().once()

    assert await workshop.house.status(one.id) is Status.EXPIRED


async def _away(*, limit: int) -> Any:
    raise StoreUnavailableError


async def _unreadable(*, limit: int) -> Any:
    raise ValueError("a status of a later version")


async def test_a_sweeper_that_waits_stops_at_once(workshop: Workshop) -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(workshop.sweep(interval=AN_HOUR).run(stopping=stopping))
    await asyncio.sleep(0.05)

    stopping.set()

    async with asyncio.timeout(0.5):
        await running


async def test_the_gauges_show_the_backlog(workshop: Workshop) -> None:
    await workshop.house.add_dead()
    await workshop.store.settle([sent(await workshop.house.add_and_claim())])
    await workshop.house.add_and_claim()
    await workshop.house.add_one(due_at=workshop.store.now() - timedelta(seconds=90))
    await workshop.house.add_one(status=Status.PENDING, due_at=workshop.store.now() + AN_HOUR)

    await workshop.sweep().measure()

    told = dict(
        line.split()
        for line in workshop.metrics.render()[0].decode().splitlines()
        if line[0] != "#" and "{" not in line
    )
    names = ("notifications_pending", "notifications_queued", "notifications_sending", "dead_letters")
    assert [float(told[name]) for name in names] == [1, 1, 1, 1]
    assert 90 <= float(told["notifications_oldest_due_seconds"]) < 100


async def test_a_watch_that_fails_is_tried_again(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "WATCH_INTERVAL", timedelta(milliseconds=10))
    failures: list[Exception] = [StoreUnavailableError(), ValueError("a bug")]
    original = workshop.store.backlog

    async def failing() -> Any:
        if failures:
            raise failures.pop()
        return await original()

    monkeypatch.setattr(workshop.store, "backlog", failing)
    await workshop.add()
    stopping = asyncio.Event()
    watching = asyncio.create_task(workshop.sweep().watch(stopping=stopping))

    await until(lambda: b"notifications_queued 1.0" in workshop.metrics.render()[0])

    stopping.set()
    await watching


async def test_a_lost_claim_is_one_line_without_body_or_address(workshop: Workshop) -> None:
    one = await workshop.add(body="the body nobody may read")
    await lose_all(workshop)

    with structlog.testing.capture_logs() as lines:
        await workshop.sweep().once()

    [line] = lines
    assert (line["event"], line["notification_id"]) == ("lease_expired", str(one.id))
    assert "nobody may read" not in repr(lines)
    assert one.channel["to"] not in repr(lines)
    assert "notifications_lease_lost_total 1.0" in workshop.metrics.render()[0].decode()
