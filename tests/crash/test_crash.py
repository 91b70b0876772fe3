"""The crash test in small: nothing accepted is lost and nothing repeated without cause."""

import pytest

from tests.crash.plan import Plan
from tests.crash.run import run

QUICK = Plan(accepts=500, kills=2)


@pytest.mark.timeout(300)
async def test_nothing_accepted_is_lost_when_the_service_is_killed() -> None:
    """On SQLite, all in one process; then a frozen worker comes back after its leases ran out."""
    report = await run(QUICK)

    assert report.is_good, report.complaints()
    assert (report.accepted, report.kills) == (QUICK.accepts, QUICK.kills)


@pytest.mark.timeout(300)
async def test_nothing_accepted_is_lost_on_postgres(postgres_database: str) -> None:
    report = await run(Plan(accepts=400, kills=1, database=postgres_database))

    assert report.is_good, report.complaints()
    assert report.accepted == 400


@pytest.mark.timeout(300)
async def test_the_crash_test_finds_what_it_is_for() -> None:
    """Answering before the commit: with a kill, what was promised is gone."""
    report = await run(Plan(accepts=300, kills=1, plant="answers-before-the-commit"))

    assert "accepted_but_not_stored" in report.broken
