"""Equal requests at the same moment, where the limit leaves room for one."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from notification_service.application import accept as accepting
from notification_service.application.submission import Accepted, RateLimitedError
from notification_service.domain.errors import StoreUnavailableError
from tests.application.desk import LIMIT, Desk, a_desk, a_draft, a_submission, at_once
from tests.stores.making import a_key

DRAFTS = tuple(a_draft() for _ in range(LIMIT))


@pytest.fixture
async def desk(sqlite_url: str) -> AsyncIterator[Desk]:
    async with a_desk(sqlite_url) as desk:
        yield desk


async def test_twins_that_fill_the_limit_are_one_request(desk: Desk) -> None:
    """None of them hears of a limit that only its twins used up."""
    results = await at_once(desk, [a_submission(*DRAFTS, key=a_key()) for _ in range(20)])

    answers = [result for result in results if isinstance(result, Accepted)]
    assert len({answer.answer for answer in answers}) == 1
    assert len(answers) == 20
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19
    assert await desk.stored() == LIMIT
    assert await desk.limiter.counted() == LIMIT


async def test_single_twins_at_the_limit_are_one_request(desk: Desk) -> None:
    await desk.accept(a_submission(*DRAFTS[1:]))

    results = await at_once(desk, [a_submission(key=a_key()) for _ in range(20)])

    assert {type(result) for result in results} == {Accepted}
    assert await desk.stored() == LIMIT


@pytest.mark.parametrize("drafts", [1, LIMIT])
async def test_a_twin_at_another_process_is_waited_for(desk: Desk, drafts: int) -> None:
    """It has used up the limit, and its answer is not committed yet."""
    submission = a_submission(*DRAFTS[:drafts], key=a_key())
    elsewhere = desk.another()
    await desk.limiter.allow_many(["ann"] * (LIMIT - drafts))
    desk.store.pause = timedelta(seconds=0.15)
    first = asyncio.create_task(elsewhere(submission))
    await asyncio.sleep(0.05)

    second = await desk.accept(submission)

    assert second.replayed
    assert second.answer == (await first).answer


async def test_a_refusal_without_a_twin_stands(desk: Desk) -> None:
    await desk.accept(a_submission(*DRAFTS))
    began = time.monotonic()

    [result] = await at_once(desk, [a_submission(key=a_key())])

    assert isinstance(result, RateLimitedError)
    assert time.monotonic() - began < 2 * sum(accepting.TWIN_PAUSES) + 0.5


async def test_twins_hear_of_the_outage_that_the_first_met(desk: Desk) -> None:
    """At once: each would wait as long as the first did."""
    desk.store.fails_with = StoreUnavailableError()

    results = await at_once(desk, [a_submission(key=a_key()) for _ in range(20)])

    assert {type(result) for result in results} == {StoreUnavailableError}
    assert desk.store.calls == 1


async def test_a_first_that_leaves_holds_nobody_up(desk: Desk) -> None:
    desk.store.pause = timedelta(seconds=0.05)
    leaving = asyncio.create_task(desk.accept(a_submission(key=a_key())))
    await asyncio.sleep(0.01)
    staying = asyncio.create_task(desk.accept(a_submission(key=a_key())))
    await asyncio.sleep(0.01)

    leaving.cancel()

    assert isinstance(await staying, Accepted)
    assert await desk.stored() == 1


async def test_other_keys_wait_for_nobody(desk: Desk) -> None:
    desk.store.pause = timedelta(seconds=0.2)
    bulk = asyncio.create_task(desk.accept(a_submission(*DRAFTS[:2], key=a_key("one"))))
    await asyncio.sleep(0.01)
    desk.store.pause = timedelta()

    await desk.accept(a_submission(*DRAFTS[:2], key=a_key("two")))

    assert not bulk.done()
    await bulk
