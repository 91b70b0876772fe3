"""The load test in small."""

import pytest

from tests.load.run import SMALLEST_BATCH, Plan, run


@pytest.mark.timeout(180)
async def test_500_clients_at_once_share_transactions_and_lose_nothing(postgres_database: str) -> None:
    """Accepted is stored is sent is arrived once; an average transaction carries more than 20."""
    report = await run(Plan(accepts=3_000), postgres_database)

    assert report.is_good, f"{report.wrong}: {report.line()}"
    assert min(report.batch, report.batch_by_postgres) > SMALLEST_BATCH
