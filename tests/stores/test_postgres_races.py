"""Races on PostgreSQL, each brought about by a transaction that stays open at the decisive moment."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from notification_service.domain.notification import Outcome, Status
from tests.stores.house import House
from tests.stores.making import a_key, again, sent

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
