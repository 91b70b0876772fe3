"""The database's time decides: processes whose wall clocks disagree by ten minutes agree on everything."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

MINUTES = 5
LONG, SHORT, PAUSE = 60.0, 1.0, 1.2
"""Seconds; the long ones would be over by a clock that is minutes ahead, the short ones not by one behind."""


class Process:
    """One process, as its parent sees it."""

    def __init__(self, url: str, *, wrong_by: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.wrong_clock", str(wrong_by), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def __call__(self, name: str, **arguments: float) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


type Two = tuple[Process, Process]


@pytest.fixture(scope="module")
def both(postgres_tables: str) -> Iterator[Two]:
    with ExitStack() as stack:
        ahead = stack.enter_context(Process(postgres_tables, wrong_by=60.0 * MINUTES))
        behind = stack.enter_context(Process(postgres_tables, wrong_by=-60.0 * MINUTES))
        yield ahead, behind


@pytest.fixture(params=["ahead first", "behind first"])
def two(both: Two, postgres_url: str, request: pytest.FixtureRequest) -> Two:
    """Two processes over an empty database, in either order."""
    ahead, behind = both
    return (ahead, behind) if request.param == "ahead first" else (behind, ahead)


def test_they_are_ten_minutes_apart_and_take_the_same_time_for_true(two: Two) -> None:
    (one_wall, one_true), (other_wall, other_true) = (process("clocks") for process in two)

    assert abs(abs(one_wall - other_wall) - 2 * 60 * MINUTES) < 5
    assert abs(one_true - other_true) < 1
    assert abs(one_true - time.time()) < 5


def test_a_publishers_hold_lasts_as_long_as_it_says(two: Two) -> None:
    one, other = two
    one("accept", hold=LONG)
    assert other("take", hold=LONG) == one("take", hold=LONG) == 0
    one("accept", hold=SHORT)
    assert other("take", hold=LONG) == 0

    time.sleep(PAUSE)

    assert other("take", hold=LONG) == 1


def test_a_relays_hold_lasts_as_long_as_it_says(two: Two) -> None:
    one, other = two
    one("accept")
    assert one("take", hold=SHORT) == 1
    assert other("take", hold=LONG) == 0

    time.sleep(PAUSE)

    assert other("take", hold=LONG) == 1
    assert one("take", hold=LONG) == 0


def test_a_queue_is_trusted_for_as_long_as_it_says(two: Two) -> None:
    one, other = two
    for trust in (LONG, SHORT):
        one("accept")
        one("take", hold=LONG)
        one("mark", trust=trust)
    assert other("distrust") == one("distrust") == 0

    time.sleep(PAUSE)

    assert other("distrust") == 1
    assert one("distrust") == 0


def test_a_lease_lasts_as_long_as_it_says(two: Two) -> None:
    one, other = two
    for lease in (LONG, SHORT):
        one("accept")
        assert one("claim", lease=lease) == 1
    assert other("claim", lease=LONG) == 0
    assert other("lost") == one("lost") == 0

    time.sleep(PAUSE)

    assert other("lost") == one("lost") == 1


def test_what_is_due_later_is_due_then_for_everybody(two: Two) -> None:
    one, other = two
    one("accept", due_in=LONG)
    one("accept", due_in=SHORT)
    assert other("take", hold=LONG) == other("claim", lease=LONG) == 0

    time.sleep(PAUSE)

    assert other("take", hold=LONG) == 1
    assert one("claim", lease=LONG) == 1
