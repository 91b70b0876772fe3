"""What follows from the ending of an attempt."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.notification import Outcome, Reason, Status
from notification_service.domain.retry import (
    LONGEST_RETRY_AFTER,
    RetryPolicy,
    Verdict,
    judge,
    judge_lost,
    outcome_of,
)

waits = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=2))
schedules = st.lists(waits, min_size=1, max_size=6).map(tuple)
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
asked_waits = st.none() | st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=30))
policies = st.builds(
    RetryPolicy, max_retries=st.integers(0, 5), schedule=schedules, hold_ambiguous=st.booleans()
)


def errors(retry_after: timedelta | None) -> list[DeliveryError]:
    kinds = (TransientDeliveryError, PermanentDeliveryError, AmbiguousDeliveryError)
    return [kind("-", provider="p", error_code="c", retry_after=retry_after) for kind in kinds]


endings = asked_waits.flatmap(lambda retry_after: st.sampled_from([None, *errors(retry_after)]))


@given(policy=policies, attempts=st.integers(1, 20), jitter=jitters, retry_after=asked_waits)
def test_a_wait_is_the_scheduled_one_give_or_take_a_fifth_and_never_shorter_than_asked(
    policy: RetryPolicy, attempts: int, jitter: float, retry_after: timedelta | None
) -> None:
    planned = policy.schedule[min(attempts, len(policy.schedule)) - 1]
    asked = max(min(retry_after or timedelta(), LONGEST_RETRY_AFTER), timedelta())

    wait = policy.delay(attempts, jitter=jitter, retry_after=retry_after)

    assert max(planned * 0.8, asked) <= wait + timedelta(microseconds=1)
    assert wait <= max(planned * 1.2, asked) + timedelta(microseconds=1)


def test_the_schedule_is_walked_through_and_its_last_wait_repeats() -> None:
    policy = RetryPolicy(max_retries=9, schedule=tuple(timedelta(seconds=n) for n in (2, 4, 8)))

    waits = [policy.delay(attempts, jitter=0.5).total_seconds() for attempts in range(1, 6)]

    assert waits == [2, 4, 8, 8, 8]


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 80), (0.25, 90), (0.5, 100), (0.75, 110)])
def test_jitter_moves_a_wait_evenly_to_both_sides(jitter: float, seconds: float) -> None:
    policy = RetryPolicy(max_retries=1, schedule=(timedelta(seconds=100),))

    assert policy.delay(1, jitter=jitter) == timedelta(seconds=seconds)


@given(error=endings, attempts=st.integers(1, 20), policy=policies, jitter=jitters, confirmed=st.booleans())
def test_every_ending_has_a_verdict_that_is_whole(
    error: DeliveryError | None, attempts: int, policy: RetryPolicy, jitter: float, confirmed: bool
) -> None:
    """Waits exactly when it is tried again, has a reason unless it arrived, and is dead when failed."""
    verdict = judge(error, attempts=attempts, policy=policy, jitter=jitter, confirmed=confirmed)

    _is_whole(verdict)
    assert (verdict.status in {Status.SENT, Status.DELIVERED}) == (error is None)
    if error is not None:
        assert verdict.outcome is outcome_of(error)


@given(attempts=st.integers(1, 20), policy=policies)
def test_every_lost_claim_has_a_verdict_that_is_whole(attempts: int, policy: RetryPolicy) -> None:
    verdict = judge_lost(attempts=attempts, policy=policy)

    _is_whole(verdict)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.is_dead == (policy.hold_ambiguous or attempts > policy.max_retries)


@given(policy=policies, jitter=jitters)
def test_a_budget_is_one_attempt_and_the_retries_of_the_policy(policy: RetryPolicy, jitter: float) -> None:
    error = TransientDeliveryError("-", provider="p", error_code="c")

    verdicts = [judge(error, attempts=attempts, policy=policy, jitter=jitter) for attempts in range(1, 10)]

    assert [verdict.is_dead for verdict in verdicts].index(True) == policy.max_retries
    assert verdicts[policy.max_retries].reason is Reason.RETRIES_EXHAUSTED


@pytest.mark.parametrize("attempts", [1, 2, 99])
def test_a_refusal_for_good_ends_it_whatever_the_budget(attempts: int) -> None:
    policy = RetryPolicy(max_retries=99, schedule=(timedelta(),))
    error = PermanentDeliveryError("-", provider="p", error_code="c")

    verdict = judge(error, attempts=attempts, policy=policy, jitter=0.5)

    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.PROVIDER_REJECTED)


@pytest.mark.parametrize(
    ("hold", "status", "reason"),
    [
        (True, Status.FAILED, Reason.AMBIGUOUS),
        (False, Status.PENDING, Reason.RETRY_SCHEDULED),
    ],
)
def test_an_unknown_ending_is_held_or_tried_again_as_the_policy_says(
    hold: bool, status: Status, reason: Reason
) -> None:
    policy = RetryPolicy(max_retries=3, schedule=(timedelta(),), hold_ambiguous=hold)
    error = AmbiguousDeliveryError("-", provider="p", error_code="c")

    verdict = judge(error, attempts=1, policy=policy, jitter=0.5)

    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(("confirmed", "status"), [(False, Status.SENT), (True, Status.DELIVERED)])
def test_only_a_provider_that_vouches_for_the_arrival_makes_it_delivered(
    confirmed: bool, status: Status
) -> None:
    policy = RetryPolicy(max_retries=0, schedule=(timedelta(),))

    assert judge(None, attempts=1, policy=policy, jitter=0, confirmed=confirmed).status is status


def _is_whole(verdict: Verdict) -> None:
    assert verdict.status in {Status.SENT, Status.DELIVERED, Status.PENDING, Status.FAILED}
    assert (verdict.delay is not None) == (verdict.status is Status.PENDING)
    assert verdict.delay is None or verdict.delay >= timedelta()
    assert (verdict.reason is None) == (verdict.status in {Status.SENT, Status.DELIVERED})
    assert verdict.is_dead == (verdict.status is Status.FAILED)
