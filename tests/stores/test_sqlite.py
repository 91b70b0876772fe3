"""Every store on SQLite."""

from collections.abc import AsyncIterator

import pytest

from tests.stores.conformance.accepting import AcceptingConformance
from tests.stores.conformance.archive import InterveningConformance, LookingConformance
from tests.stores.conformance.claiming import ClaimingConformance
from tests.stores.conformance.dead_letters import DeadLetterConformance
from tests.stores.conformance.mailbox import MailboxConformance
from tests.stores.conformance.people import SessionConformance, UserConformance
from tests.stores.conformance.settling import SettlingConformance
from tests.stores.conformance.sweeping import SweepingConformance
from tests.stores.conformance.wakeups import WakeupsConformance
from tests.stores.house import House


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    async with House.open(sqlite_url) as house:
        yield house


class TestAccepting(AcceptingConformance):
    """What every store promises about storing."""


class TestClaiming(ClaimingConformance):
    """What every store promises about claims."""


class TestSettling(SettlingConformance):
    """What every store promises about endings."""


class TestSweeping(SweepingConformance):
    """What every store promises about what time overtakes."""


class TestLooking(LookingConformance):
    """What every store promises about reading."""


class TestIntervening(InterveningConformance):
    """What every store promises about what people ask for."""


class TestDeadLetter(DeadLetterConformance):
    """What every store promises about what is parked."""

    many = 2_000  # it takes its time


class TestUser(UserConformance):
    """What every store promises about users."""


class TestSession(SessionConformance):
    """What every store promises about sessions and links."""


class TestMailbox(MailboxConformance):
    """What every store promises about the mailbox."""


class TestWakeups(WakeupsConformance):
    """What every store promises about waking workers."""
