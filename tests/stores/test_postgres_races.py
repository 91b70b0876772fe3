"""Races on PostgreSQL, each brought about by a transaction that stays open at the decisive moment."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.notification import Notification, Outcome, Status
from tests.stores.house import AN_HOUR, LEASE, House
from tests.stores.making import a_key, a_notification, again, new_id, sent

TRUST = timedelta(minutes=2)

END_THE_CLAIM = """
UPDATE notifications SET status = 'pending', epoch = epoch + 1, attempts = attempts + 1, lease_until = NULL
"""


@pytest.fixture
async def house(postgres_url: str) -> AsyncIterator[House]:
    async with House.open(postgres_url) as house:
        yield house


@pytest.fixture
async def rival(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another process, in the middle of its transaction."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def blocked(rival: asyncpg.Connection) -> None:
    """Return when somebody waits for a row that the rival holds."""
    async with asyncio.timeout(5):
        while not await rival.fetchval(  # noqa: ASYNC110 - nobody tells when
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ):
            await asyncio.sleep(0.01)


async def test_an_ending_told_while_the_sweeper_ends_the_claim_is_recorded_as_late(
    house: House, rival: asyncpg.Connection
) -> None:
    """The statement began before the claim was found lost, and sees afterwards that it was."""
    claim = await house.add_and_claim()
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute(END_THE_CLAIM)
    telling = asyncio.create_task(house.store.settle([sent(claim)]))
    await blocked(rival)

    await transaction.commit()

    assert await telling == frozenset()
    [line] = await house.archive.history(claim.notification.id)
    assert (line.outcome, line.error_code) == (Outcome.DELIVERED, "lease_lost")
    assert await house.status(claim.notification.id) is Status.PENDING


async def test_an_ending_told_again_while_it_is_still_being_written_is_written_once(
    house: House, postgres_url: str, rival: asyncpg.Connection
) -> None:
    """As by a worker whose patience ended before the database's."""
    claim = await house.add_and_claim()
    settlement = again(claim, delay=timedelta(minutes=1))
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("SELECT FROM notifications FOR UPDATE")
    tellings = [asyncio.create_task(house.store.settle([settlement])) for _ in range(3)]
    await blocked(rival)
    await asyncio.sleep(0.05)

    await transaction.rollback()

    results = await asyncio.gather(*tellings)
    assert sorted(len(effective) for effective in results) == [0, 0, 1]
    assert len(await house.archive.history(claim.notification.id)) == 1
    assert (await house.get(claim.notification.id)).attempts == 1


async def test_a_claim_skips_what_another_is_claiming_and_does_not_wait(
    house: House, rival: asyncpg.Connection
) -> None:
    held, free = await house.add_one(priority=9), await house.add_one()
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("UPDATE notifications SET status = 'sending' WHERE id = $1", held.id)

    async with asyncio.timeout(1):
        claims = await house.claim()

    assert [claim.notification.id for claim in claims] == [free.id]
    await transaction.rollback()
    assert (await house.claim_one()).notification.id == held.id


async def test_a_key_that_another_is_storing_is_waited_for_and_its_answer_returned(
    house: House, rival: asyncpg.Connection
) -> None:
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute(
        "INSERT INTO idempotency_keys (caller, key, fingerprint, status_code, answer, expires_at)"
        " VALUES ('ann', 'key-1', 'same', 202, 'first', now() + interval '1 hour')"
    )
    storing = asyncio.create_task(house.add_with_key(a_key(), body=b"second"))
    await blocked(rival)

    await transaction.commit()

    answer = await storing
    assert answer is not None
    assert answer.body == b"first"
    assert await house.count() == 0


async def test_a_key_whose_first_user_failed_is_free(house: House, rival: asyncpg.Connection) -> None:
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute(
        "INSERT INTO idempotency_keys (caller, key, fingerprint, status_code, answer, expires_at)"
        " VALUES ('ann', 'key-1', 'same', 202, 'first', now() + interval '1 hour')"
    )
    storing = asyncio.create_task(house.add_with_key(a_key(), body=b"second"))
    await blocked(rival)

    await transaction.rollback()

    assert await storing is None
    assert await house.count() == 1


async def test_the_time_told_is_never_ahead_of_the_databases(house: House, rival: asyncpg.Connection) -> None:
    """Measured by whatever asks the database anyway, also when the answer was slow to come."""
    for _ in range(5):
        await house.add_one()
        await house.store.check()
        await house.store.backlog()

        told = house.store.now()

        assert told <= await rival.fetchval("SELECT clock_timestamp()")


async def held_by_a_publisher(house: House, count: int = 1) -> list[Notification]:
    """Stored, handed to the broker, and not yet marked as queued."""
    added = [a_notification(now=house.store.now(), status=Status.PENDING) for _ in range(count)]
    await house.store.add_many(
        [Acceptance(notifications=tuple(added))], keep_answers=AN_HOUR, hold=timedelta(seconds=30)
    )
    return added


async def test_what_a_worker_receives_while_it_is_being_marked_as_queued_is_claimed(
    house: House, rival: asyncpg.Connection
) -> None:
    """A message is handed out once: a claim that passed over its row would leave it to the recovery."""
    [one] = await held_by_a_publisher(house)
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("UPDATE notifications SET status = 'queued', lease_until = now() + interval '2 min'")
    claiming = asyncio.create_task(house.store.claim("email", limit=5, lease=LEASE, ids=[one.id]))
    await blocked(rival)

    await transaction.commit()

    assert [claim.notification.id for claim in await claiming] == [one.id]
    row = await house.row(one.id)
    assert (row.status, row.epoch) == ("sending", 1)


async def test_what_another_worker_is_claiming_is_not_claimed_again(
    house: House, rival: asyncpg.Connection
) -> None:
    """Published twice, received twice, sent once."""
    one = await house.add_one()
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("UPDATE notifications SET status = 'sending', epoch = 1")
    claiming = asyncio.create_task(house.store.claim("email", limit=5, lease=LEASE, ids=[one.id]))
    await blocked(rival)

    await transaction.commit()

    assert list(await claiming) == []


async def test_a_mark_neither_waits_for_a_claim_nor_undoes_it(
    house: House, rival: asyncpg.Connection
) -> None:
    claimed, other = await held_by_a_publisher(house, 2)
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("UPDATE notifications SET status = 'sending', epoch = 1 WHERE id = $1", claimed.id)

    async with asyncio.timeout(1):
        await house.outbox.mark_queued([claimed, other], trust=TRUST)

    await transaction.commit()
    assert [await house.status(one.id) for one in (claimed, other)] == [Status.SENDING, Status.QUEUED]


async def test_relays_skip_what_another_is_taking_and_do_not_wait(
    house: House, rival: asyncpg.Connection
) -> None:
    taken = await house.add_one(status=Status.PENDING, priority=9)
    free = await house.add_one(status=Status.PENDING, priority=1)
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("SELECT FROM notifications WHERE id = $1 FOR UPDATE", taken.id)

    async with asyncio.timeout(1):
        found = await house.outbox.take(limit=1, hold=TRUST)

    await transaction.rollback()
    assert [one.id for one in found] == [free.id]


async def test_no_two_relays_get_the_same_one(house: House) -> None:
    added = await house.add(*(a_notification(status=Status.PENDING) for _ in range(300)))
    others = [house, await house.another(), await house.another()]

    async def take_all(one: House) -> list[Notification]:
        found: list[Notification] = []
        while some := await one.outbox.take(limit=20, hold=TRUST):
            assert len(some) <= 20
            found += some
        return found

    found = [one.id for each in await asyncio.gather(*map(take_all, others)) for one in each]

    assert sorted(found) == sorted(one.id for one in added)


async def test_whatever_happens_at_once_nobody_waits_for_each_other_in_a_circle(house: House) -> None:
    """Everything that writes waiting rows, over the same rows in opposite orders: no deadlock, none lost."""
    houses = [house, await house.another(), await house.another()]
    added = await held_by_a_publisher(house, 60)
    ids = [one.id for one in added]

    async def worker(one: House, order: int) -> None:
        for _ in range(8):
            for claim in await one.store.claim("email", limit=20, lease=LEASE, ids=ids[::order][:40]):
                await one.store.settle([again(claim)])

    async def relay(one: House, order: int) -> None:
        for _ in range(15):
            taken = await one.outbox.take(limit=30, hold=timedelta(milliseconds=5))
            await one.outbox.mark_queued([*taken, *added[::order]], trust=timedelta(milliseconds=5))
            await one.outbox.release(taken[::order])
            await one.outbox.distrust(["email"], limit=30)
            await one.outbox.adopt(limit=30)

    async with asyncio.timeout(30):
        await asyncio.gather(
            *(worker(one, order) for one, order in zip(houses, (1, -1, 1), strict=True)),
            *(relay(one, order) for one, order in zip(houses, (-1, 1, -1), strict=True)),
        )

    assert await house.count() == 60
    assert {await house.status(one) for one in ids} <= {Status.PENDING, Status.QUEUED}


async def test_answers_are_corrected_and_kept_at_once_without_a_circle(house: House) -> None:
    """Both lock the same keys: in the same order, whatever order they were named in."""
    keys = [a_key(f"key-{number}") for number in range(40)]
    for key in keys:
        await house.add_with_key(key)
    houses = [house, await house.another(), await house.another()]

    def corrections(order: int, body: bytes) -> list[tuple[IdempotencyKey, StoredAnswer]]:
        answer = StoredAnswer(fingerprint=b"same", status_code=202, body=body)
        return [(key, answer) for key in keys[::order]]

    async def correct(one: House, order: int) -> None:
        for number in range(20):
            await one.store.correct_answers(corrections(order, b"%d" % number))

    async def repeat(one: House) -> None:
        for _ in range(20):
            calls = [
                Acceptance(notifications=(a_notification(id=new_id()),), key=key, answer=answer)
                for key, answer in corrections(1, b"another")
            ]
            assert None not in await one.store.add_many(calls, keep_answers=AN_HOUR)

    async with asyncio.timeout(30):
        await asyncio.gather(correct(houses[0], 1), correct(houses[1], -1), repeat(houses[2]))
