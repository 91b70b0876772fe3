"""Every store on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from tests.stores.conformance.accepting import AcceptingConformance
from tests.stores.conformance.claiming import ClaimingConformance
from tests.stores.conformance.settling import SettlingConformance
from tests.stores.conformance.sweeping import SweepingConformance
from tests.stores.house import House


@pytest.fixture
async def house(postgres_url: str) -> AsyncIterator[House]:
    async with House.open(postgres_url) as house:
        yield house


class TestAccepting(AcceptingConformance):
    """What every store promises about storing."""


class TestClaiming(ClaimingConformance):
    """What every store promises about claims."""


class TestSettling(SettlingConformance):
    """What every store promises about endings."""


class TestSweeping(SweepingConformance):
    """What every store promises about what time overtakes."""
