"""Patience: guessing passwords is slowed down, and nobody can switch that off."""

from contextlib import suppress

import pytest

from notification_service.application import patience as waiting
from notification_service.application.patience import (
    FAILURES_COUNT_FOR,
    MOST_FAILURES,
    Patience,
    TooManyAttemptsError,
)
from notification_service.domain.errors import InvalidCredentialsError, StoreUnavailableError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def patience(clock: Clock) -> Patience:
    return Patience(clock)


def fail(patience: Patience, name: str = "ann", address: str = "192.0.2.1", *, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(InvalidCredentialsError), patience.attempt(name, address):
            raise InvalidCredentialsError


def succeed(patience: Patience, name: str = "ann", address: str = "192.0.2.1") -> None:
    with patience.attempt(name, address):
        pass


def test_after_some_failures_even_the_right_password_has_to_wait(patience: Patience) -> None:
    fail(patience, times=MOST_FAILURES)

    with pytest.raises(TooManyAttemptsError) as refused:
        succeed(patience)

    assert refused.value.retry_after == FAILURES_COUNT_FOR


@pytest.mark.parametrize(("name", "address"), [("bob", "192.0.2.1"), ("ann", "192.0.2.2")])
def test_others_are_not_made_to_wait(patience: Patience, name: str, address: str) -> None:
    fail(patience, times=MOST_FAILURES)

    succeed(patience, name, address)


def test_failures_are_forgotten_some_minutes_after_the_first(patience: Patience, clock: Clock) -> None:
    fail(patience, times=MOST_FAILURES)

    clock.now = FAILURES_COUNT_FOR.total_seconds()

    fail(patience, times=MOST_FAILURES)


def test_a_success_forgets_the_failures_before(patience: Patience) -> None:
    fail(patience, times=MOST_FAILURES - 1)

    succeed(patience)

    fail(patience, times=MOST_FAILURES)


def test_attempts_count_from_their_beginning(patience: Patience) -> None:
    """Otherwise any number of parallel guesses would pass before the first is known to be wrong."""
    running = [patience.attempt("ann", "192.0.2.1") for _ in range(MOST_FAILURES)]
    for each in running:
        each.__enter__()

    with pytest.raises(TooManyAttemptsError):
        succeed(patience)


def test_an_attempt_that_nobody_could_judge_is_none(patience: Patience) -> None:
    """An outage of the database locks nobody out."""
    for _ in range(2 * MOST_FAILURES):
        with pytest.raises(StoreUnavailableError), patience.attempt("ann", "192.0.2.1"):
            raise StoreUnavailableError

    succeed(patience)


def test_a_flood_of_names_makes_nothing_forget_and_holds_no_more_memory(
    patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "COUNTERS", 100)
    fail(patience, times=MOST_FAILURES)

    for number in range(5_000):
        with suppress(TooManyAttemptsError):
            fail(patience, f"made up {number}")

    with pytest.raises(TooManyAttemptsError):
        succeed(patience)
    assert len(patience._failures) <= 100


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_all_addresses_that_one_customer_is_given_are_one(
    patience: Patience, first: str, second: str, is_one: bool
) -> None:
    fail(patience, address=first, times=MOST_FAILURES)

    if is_one:
        with pytest.raises(TooManyAttemptsError):
            succeed(patience, address=second)
    else:
        succeed(patience, address=second)
