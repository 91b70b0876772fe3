"""Taking notifications in: on the real store, limiter and broker of a single process."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import override

import pytest

from notification_service.application import accept as accepting
from notification_service.application import publish
from notification_service.application.submission import Accepted, Outcome, RateLimitedError
from notification_service.domain.acceptance import IdempotencyKey, StoredAnswer
from notification_service.domain.errors import (
    ChannelNotConfiguredError,
    IdempotencyKeyReusedError,
    LimiterUnavailableError,
    OverloadedError,
    StoreUnavailableError,
)
from notification_service.domain.notification import (
    Reason,
    Status,
)
from tests.application.desk import LIMIT, TRAIL, Desk, Store, a_draft, a_submission, at_once, outcomes
from tests.stores.making import a_key


async def test_what_is_accepted_is_stored_and_queued_before_the_answer(desk: Desk) -> None:
    accepted = await desk.accept(a_submission(a_draft(reference="order-7", priority=9)))

    one = await desk.the_one()
    assert outcomes(accepted) == [str(one.id)]
    assert (one.status, one.status_reason, one.reference, one.priority) == (Status.QUEUED, None, "order-7", 9)
    assert one.trail == TRAIL
    assert one.due_at == one.created_at
    assert desk.broker.published == [one.id]


async def test_an_accepted_notification_can_be_claimed_at_once(desk: Desk) -> None:
    await desk.accept(a_submission())

    assert len(await desk.house.claim()) == 1


async def test_the_answer_tells_the_users_standing(desk: Desk) -> None:
    await desk.accept(a_submission())

    accepted = await desk.accept(a_submission())

    assert accepted.allowance is not None
    assert (accepted.allowance.limit, accepted.allowance.remaining) == (LIMIT, LIMIT - 2)
    assert (accepted.status_code, accepted.replayed) == (202, False)


async def test_what_is_scheduled_waits_for_its_time_and_is_not_published(desk: Desk) -> None:
    later = desk.store.now() + timedelta(hours=1)

    await desk.accept(a_submission(a_draft(scheduled_for=later)))

    one = await desk.the_one()
    assert (one.status, one.status_reason, one.due_at) == (Status.PENDING, Reason.SCHEDULED, later)
    assert desk.broker.published == []


async def test_what_is_scheduled_for_the_past_is_due_now(desk: Desk) -> None:
    past = desk.store.now() - timedelta(hours=1)

    await desk.accept(a_submission(a_draft(scheduled_for=past)))

    one = await desk.the_one()
    assert (one.status, one.status_reason, one.due_at) == (Status.QUEUED, None, one.created_at)


async def test_a_refused_notification_is_neither_stored_nor_counted(desk: Desk) -> None:
    await at_once(desk, [a_submission() for _ in range(LIMIT)])

    for _ in range(3):
        with pytest.raises(RateLimitedError) as caught:
            await desk.accept(a_submission())

    assert caught.value.allowance.retry_after > timedelta()
    assert await desk.stored() == LIMIT
    assert len(desk.broker.published) == LIMIT


async def test_of_many_at_once_exactly_the_limit_is_accepted(desk: Desk) -> None:
    results = await at_once(desk, [a_submission() for _ in range(50)])

    kinds = [type(result) for result in results]
    assert (kinds.count(Accepted), kinds.count(RateLimitedError)) == (LIMIT, 50 - LIMIT)
    assert await desk.stored() == LIMIT


async def test_hundreds_at_once_are_few_transactions(desk: Desk) -> None:
    submissions = [a_submission(a_draft(user_id=f"user-{number}")) for number in range(300)]

    results = await at_once(desk, submissions)

    assert {type(result) for result in results} == {Accepted}
    assert await desk.stored() == 300
    assert desk.store.calls <= 3


async def test_a_refusal_is_not_kept_under_its_key(desk: Desk) -> None:
    await at_once(desk, [a_submission() for _ in range(LIMIT)])
    with pytest.raises(RateLimitedError):
        await desk.accept(a_submission(key=a_key()))
    await desk.limiter.give_back_many(["ann"])

    accepted = await desk.accept(a_submission(key=a_key()))

    assert not accepted.replayed


async def test_in_bulk_the_earlier_ones_win_and_the_others_are_refused_alone(desk: Desk) -> None:
    drafts = [a_draft(user_id=("ann", "bob")[number % 4 == 3]) for number in range(12)]

    accepted = await desk.accept(a_submission(*drafts))

    refused = [at for at, outcome in enumerate(outcomes(accepted)) if outcome == "rate_limited"]
    assert refused == [6, 8, 9, 10]
    assert await desk.stored() == 8


async def test_a_bulk_call_refused_altogether_is_answered_and_nothing_is_stored(desk: Desk) -> None:
    await desk.accept(a_submission(*[a_draft()] * LIMIT))

    accepted = await desk.accept(a_submission(*[a_draft()] * 2, key=a_key()))

    assert outcomes(accepted) == ["rate_limited"] * 2
    assert await desk.stored() == LIMIT
    assert await desk.house.keys() == 0


async def test_a_repeat_gets_the_first_answer_and_counts_nothing(desk: Desk) -> None:
    first = await desk.accept(a_submission(key=a_key()))

    repeats = [await desk.accept(a_submission(key=a_key())) for _ in range(LIMIT + 3)]

    assert {(each.answer, each.status_code, each.replayed) for each in repeats} == {(first.answer, 202, True)}
    assert await desk.stored() == 1
    assert await desk.limiter.counted() == 1


async def test_a_kept_answer_can_be_recalled_without_submitting_anything(desk: Desk) -> None:
    first = await desk.accept(a_submission(key=a_key()))

    recalled = await desk.accept.recall(a_key())

    assert recalled is not None
    assert (recalled.answer, recalled.replayed) == (first.answer, True)
    assert await desk.accept.recall(a_key("unknown")) is None
    assert await desk.accept.recall(None) is None
    with pytest.raises(IdempotencyKeyReusedError):
        await desk.accept.recall(a_key(fingerprint=b"another"))


async def test_a_repeat_is_answered_with_the_status_of_the_first(desk: Desk) -> None:
    await desk.accept(a_submission(key=a_key(), status_code=201))

    repeat = await desk.accept(a_submission(key=a_key(), status_code=202))

    assert repeat.status_code == 201


async def test_a_key_used_for_another_request_is_an_error(desk: Desk) -> None:
    await desk.accept(a_submission(key=a_key(fingerprint=b"one")))

    with pytest.raises(IdempotencyKeyReusedError):
        await desk.accept(a_submission(key=a_key(fingerprint=b"another")))

    assert await desk.stored() == 1
    assert await desk.limiter.counted() == 1


async def test_the_same_key_many_times_in_one_flush_stores_one(desk: Desk) -> None:
    results = await at_once(desk, [a_submission(key=a_key()) for _ in range(200)])

    answers = {result.answer for result in results if isinstance(result, Accepted)}
    assert len(answers) == 1
    assert sum(isinstance(result, Accepted) and not result.replayed for result in results) == 1
    assert await desk.stored() == 1
    assert await desk.limiter.counted() == 1


async def test_keys_of_different_callers_and_requests_in_one_flush_are_kept_apart(desk: Desk) -> None:
    keys = [a_key(), a_key(caller="bob"), a_key(fingerprint=b"another"), a_key("key-2"), a_key()]

    results = await at_once(desk, [a_submission(key=key) for key in keys])

    kinds = [type(result) for result in results]
    assert kinds == [Accepted, Accepted, IdempotencyKeyReusedError, Accepted, Accepted]
    assert [result.replayed for result in results if isinstance(result, Accepted)] == [
        False,
        False,
        False,
        True,
    ]
    assert await desk.stored() == 3


async def test_the_same_key_from_two_processes_at_once_stores_one_and_counts_one(
    desk: Desk, sqlite_url: str
) -> None:
    """Neither finds an answer; the store decides, and the loser's count is given back."""

    class Blind(Store):
        @override
        async def find_answers(self, keys: Sequence[IdempotencyKey]) -> Sequence[StoredAnswer | None]:
            return [None] * len(keys)

    first = await desk.accept(a_submission(key=a_key()))
    desk.accept._store = Blind(desk.house.database)

    second = await desk.accept(a_submission(key=a_key()))

    assert (second.answer, second.replayed) == (first.answer, True)
    assert await desk.stored() == 1
    assert await desk.limiter.counted() == 1
    assert len(desk.broker.published) == 1


async def test_an_outage_of_the_store_gives_the_count_back(desk: Desk) -> None:
    desk.store.fails_with = StoreUnavailableError()

    results = await at_once(desk, [a_submission(), a_submission(a_draft(), a_draft())])

    assert [type(result) for result in results] == [StoreUnavailableError] * 2
    assert await desk.limiter.counted() == 0
    desk.store.fails_with = None
    assert len(outcomes(await desk.accept(a_submission(*[a_draft()] * LIMIT)))) == LIMIT


async def test_one_that_cannot_be_stored_harms_none_of_its_neighbours(desk: Desk) -> None:
    """Nor is anybody counted twice for the second try."""
    bad = a_submission(a_draft(user_id="ann", metadata={"not": object()}))
    users = ["ann", "bob", "ann", "cy"]

    results = await at_once(desk, [*(a_submission(a_draft(user_id=user)) for user in users), bad])

    assert [type(result) for result in results[:4]] == [Accepted] * 4
    assert isinstance(results[4], Exception)
    assert await desk.stored() == 4
    assert [await desk.limiter.counted(user) for user in ("ann", "bob", "cy")] == [2, 1, 1]


async def test_an_answer_that_cannot_be_written_harms_none_of_its_neighbours(desk: Desk) -> None:
    """It is written before anything is stored, so that nothing is stored twice for it."""

    def unwritable(_: Sequence[Outcome]) -> bytes:
        raise ValueError

    results = await at_once(desk, [a_submission(), a_submission(render=unwritable), a_submission()])

    assert [type(result) for result in results] == [Accepted, ValueError, Accepted]
    assert await desk.stored() == 2
    assert await desk.limiter.counted() == 2


async def test_without_the_limiter_nothing_is_accepted_but_kept_answers_are_given(desk: Desk) -> None:
    first = await desk.accept(a_submission(key=a_key()))
    desk.limiter.is_away = True

    results = await at_once(
        desk, [a_submission(), a_submission(key=a_key()), a_submission(a_draft(), a_draft())]
    )

    desk.limiter.is_away = False
    assert isinstance(results[0], LimiterUnavailableError)
    assert isinstance(results[1], Accepted)
    assert results[1].answer == first.answer
    assert isinstance(results[2], LimiterUnavailableError)
    assert await desk.stored() == 1
    assert await desk.limiter.counted() == 1


@pytest.mark.parametrize(
    "error", [ConnectionError("no broker"), ValueError("a bug"), TimeoutError(), StoreUnavailableError()]
)
async def test_a_broker_that_fails_costs_nobody_the_answer(desk: Desk, error: Exception) -> None:
    """Stored is accepted: a worker finds it by itself."""
    desk.broker.fails_with = error

    results = await at_once(desk, [a_submission(), a_submission(), a_submission(a_draft(), a_draft())])

    assert [type(result) for result in results] == [Accepted] * 3
    assert await desk.stored() == 4
    assert len(await desk.house.claim()) == 4


async def test_a_broker_that_hangs_costs_a_second_at_most(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta() < publish.PATIENCE <= timedelta(seconds=1)
    monkeypatch.setattr(publish, "PATIENCE", timedelta(milliseconds=100))
    desk.broker.hangs = True
    began = time.monotonic()

    results = await at_once(desk, [a_submission(), a_submission(a_draft(), a_draft())])

    assert [type(result) for result in results] == [Accepted] * 2
    assert time.monotonic() - began < 1
    assert await desk.stored() == 3


async def test_a_store_that_hangs_ends_in_an_error_for_one_and_for_many(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "FLUSH_PATIENCE", timedelta(milliseconds=100))
    desk.store.hangs = True
    impatient = desk.another()

    async with asyncio.timeout(5):
        results = await asyncio.gather(
            impatient(a_submission()), impatient(a_submission(a_draft(), a_draft())), return_exceptions=True
        )

    assert [type(result) for result in results] == [OverloadedError] * 2
    assert await desk.limiter.counted() == 0


async def test_a_caller_that_left_after_its_flush_began_leaves_a_stored_notification(desk: Desk) -> None:
    """Whole, counted and published: it repeats with its key and hears so."""
    leaving = asyncio.create_task(desk.accept(a_submission(key=a_key())))
    await asyncio.sleep(0.001)
    leaving.cancel()
    await asyncio.wait([leaving])

    repeat = await desk.accept(a_submission(key=a_key()))

    assert outcomes(repeat) == [str((await desk.the_one()).id)]
    assert await desk.limiter.counted() == 1


async def test_closing_finishes_what_was_taken_and_refuses_the_rest(desk: Desk) -> None:
    taken = [asyncio.create_task(desk.accept(a_submission(a_draft(user_id=str(at))))) for at in range(20)]
    await asyncio.sleep(0)

    await desk.accept.__aexit__(None, None, None)

    assert {type(each) for each in await asyncio.gather(*taken)} == {Accepted}
    with pytest.raises(OverloadedError):
        await desk.accept(a_submission())
    assert await desk.stored() == 20


async def test_an_unconfigured_channel_is_named_with_its_remedy(desk: Desk) -> None:
    desk.accept.require_channel("email")

    with pytest.raises(ChannelNotConfiguredError, match="NS_SMS_PROVIDERS"):
        desk.accept.require_channel("sms")


async def test_what_was_stored_replayed_and_refused_is_counted(desk: Desk) -> None:
    await desk.accept(a_submission(*[a_draft()] * (LIMIT + 2)))
    await desk.accept(a_submission(a_draft(user_id="bob"), key=a_key()))
    await desk.accept(a_submission(a_draft(user_id="bob"), key=a_key()))

    told = desk.metrics.render()[0].decode()

    assert f'notifications_created_total{{channel="email"}} {LIMIT + 1}.0' in told
    assert "idempotent_replays_total 1.0" in told
    assert "rate_limited_total 2.0" in told
