"""Whether the service can do its work, and what it says when it can't."""

import asyncio
import time
from datetime import timedelta

import pytest

from notification_service.application import health as checking
from notification_service.application.health import CheckStatus, Health, ReadyStatus
from notification_service.domain.errors import StoreUnavailableError


async def fine() -> str:
    return "all is well"


async def away() -> str:
    raise StoreUnavailableError


async def buggy() -> str:
    raise KeyError("a secret")


async def hanging() -> str:
    await asyncio.sleep(60)
    return "never"


async def test_all_well_is_ready_and_says_what_it_saw() -> None:
    readiness = await Health(needed={"database": fine}, helpful={"smtp": fine}).readiness()

    assert readiness.status is ReadyStatus.READY
    assert {name: (check.status, check.detail) for name, check in readiness.checks.items()} == {
        "database": (CheckStatus.UP, "all is well"),
        "smtp": (CheckStatus.UP, "all is well"),
    }


@pytest.mark.parametrize("look", [away, buggy])
async def test_without_what_it_needs_it_is_unready(look: checking.Look) -> None:
    readiness = await Health(needed={"database": look}, helpful={"smtp": fine}).readiness()

    assert readiness.status is ReadyStatus.UNREADY
    assert readiness.checks["database"].status is CheckStatus.DOWN
    assert readiness.checks["smtp"].status is CheckStatus.UP


@pytest.mark.parametrize("look", [away, buggy])
async def test_without_what_helps_it_is_degraded(look: checking.Look) -> None:
    readiness = await Health(needed={"database": fine}, helpful={"smtp": look}).readiness()

    assert readiness.status is ReadyStatus.DEGRADED
    assert readiness.checks["smtp"].status is CheckStatus.DEGRADED


async def test_a_failure_nobody_foresaw_tells_its_kind_and_nothing_more() -> None:
    readiness = await Health(needed={"database": buggy}, helpful={}).readiness()

    assert readiness.checks["database"].detail == "KeyError"


async def test_who_asks_while_somebody_looks_or_just_after_gets_the_same_answer() -> None:
    """The question is public, and each look takes connections that work needs."""
    looks, now = 0, 0.0

    async def look() -> str:
        nonlocal looks, now
        looks, now = looks + 1, now + 2.0
        await asyncio.sleep(0)
        return f"look {looks}"

    health = Health(needed={"database": look}, helpful={}, clock=lambda: now)

    together = await asyncio.gather(*(health.readiness() for _ in range(20)))
    now = 2.9
    shortly_after = await health.readiness()
    now = 3.0
    later = await health.readiness()

    assert {answer.checks["database"].detail for answer in (*together, shortly_after)} == {"look 1"}
    assert later.checks["database"].detail == "look 2"


async def test_a_caller_who_leaves_takes_nobodys_answer_along() -> None:
    health = Health(needed={"database": fine}, helpful={})
    first, second = (asyncio.create_task(health.readiness()) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()

    assert (await second).status is ReadyStatus.READY


async def test_looks_that_hang_count_as_missing_and_are_waited_for_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checking, "PATIENCE", timedelta(milliseconds=50))
    began = time.monotonic()

    readiness = await Health(
        needed={"database": hanging}, helpful={str(number): hanging for number in range(20)}
    ).readiness()

    assert time.monotonic() - began < 0.5
    assert readiness.status is ReadyStatus.UNREADY
