"""Every store on SQLite."""

from collections.abc import AsyncIterator

import pytest

from tests.stores.conformance.accepting import AcceptingConformance, AnsweringLaterConformance
from tests.stores.conformance.archive import InterveningConformance, LookingConformance
from tests.stores.conformance.claiming import ClaimingConformance
from tests.stores.conformance.dead_letters import DeadLetterConformance
from tests.stores.conformance.mailbox import MailboxConformance
from tests.stores.conformance.outbox import QueuedConformance, TakingConformance
from tests.stores.conformance.parking import ParkingConformance
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


class TestAnsweringLater(AnsweringLaterConformance):
    """What every store promises about what is being published."""


class TestClaiming(ClaimingConformance):
    """What every store promises about claims."""


class TestSettling(SettlingConformance):
    """What every store promises about endings."""


class TestSweeping(SweepingConformance):
    """What every store promises about what time overtakes."""


class TestTaking(TakingConformance):
    """What every store promises about what waits to be published."""


class TestQueued(QueuedConformance):
    """What every store promises about what a queue holds."""


class TestLooking(LookingConformance):
    """What every store promises about reading."""


class TestIntervening(InterveningConformance):
    """What every store promises about what people ask for."""


class TestDeadLetter(DeadLetterConformance):
    """What every store promises about what is parked."""

    many = 2_000  # it takes its time


class TestParking(ParkingConformance):
    """What every store promises about messages of others."""


class TestUser(UserConformance):
    """What every store promises about users."""


class TestSession(SessionConformance):
    """What every store promises about sessions and links."""


class TestMailbox(MailboxConformance):
    """What every store promises about the mailbox."""


class TestWakeups(WakeupsConformance):
    """What every store promises about waking workers."""
