"""Whatever happens in whatever order, a notification's life keeps its promises."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from notification_service.adapters.stores.sql.tables import attempts as lines
from notification_service.adapters.stores.sql.tables import dead_letters, metadata, notifications
from notification_service.domain.acceptance import Acceptance
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import (
    Claim,
    DeadLetterId,
    NotificationId,
    Outcome,
    Settlement,
    Status,
)
from tests.stores.house import AN_HOUR, LEASE, House
from tests.stores.making import a_notification, again, dead, delivered, held, lost, lost_for_good, sent

ENDINGS = [sent, delivered, again, dead, held]
WAITING = {Status.PENDING, Status.QUEUED}
FORWARD = {
    Status.PENDING: {Status.SENDING, Status.CANCELLED, Status.EXPIRED},
    Status.QUEUED: {Status.SENDING, Status.CANCELLED, Status.EXPIRED},
    Status.SENDING: {Status.PENDING, Status.SENT, Status.DELIVERED, Status.FAILED},
    Status.FAILED: {Status.PENDING, Status.QUEUED},
}
"""Every step a notification may take; from any other state there is none."""


@dataclass
class Story:
    """What must have become of one notification."""

    status: Status
    holder: Claim | None = None
    history: list[Outcome] = field(default_factory=list)
    attempts: int = 0
    letters: int = 0
    sent_at: datetime | None = None
    lease: timedelta | None = None
    """What a publisher or a queue is trusted for while it waits; negative when that is over."""


@dataclass
class Hold:
    """A claim as its worker knows it: the ending it will report, and whether it did."""

    claim: Claim
    ending: Callable[[Claim], Settlement] | None = None
    reported: bool = False
    was_lost: bool = False


class Life(RuleBasedStateMachine):
    """Callers, workers, sweepers and people, one after the other in any order."""

    url: Callable[[AsyncExitStack], str]
    forward = FORWARD

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.house: House = self.run(self.stack.enter_async_context(House.open(type(self).url(self.stack))))
        self.run(self._empty())
        self.stories: dict[NotificationId, Story] = {}
        self.holds: list[Hold] = []
        self.accept(count=3, status=Status.QUEUED, priority=5)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.stack.aclose())
            self.runner.close()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _empty(self) -> None:
        async with self.house.database.transaction() as connection:
            for table in metadata.tables:
                await connection.execute(text(f"DELETE FROM {table}"))

    def any_of(self, *statuses: Status) -> bool:
        return any(story.status in statuses for story in self.stories.values())

    def one_of(self, place: int, *likely: Status) -> NotificationId:
        """One of the likely ones mostly, and now and then of the others."""
        ids = sorted(self.stories, key=lambda one: self.stories[one].status not in likely)
        return ids[place % len(ids)]

    # --- what may happen ---

    @rule(count=st.integers(1, 3), status=st.sampled_from(sorted(WAITING)), priority=st.integers(1, 10))
    def accept(self, count: int, status: Status, priority: int) -> None:
        now = self.house.store.now()
        made = [a_notification(now=now, status=status, priority=priority) for _ in range(count)]
        self.run(self.house.store.add_many([Acceptance(notifications=tuple(made))], keep_answers=AN_HOUR))
        self.stories |= {one.id: Story(status) for one in made}

    @precondition(lambda self: self.any_of(*WAITING))
    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        claims: Sequence[Claim] = self.run(self.house.store.claim("email", limit=limit, lease=LEASE))
        due = [story for story in self.stories.values() if story.status in WAITING]
        assert len(claims) == min(limit, len(due))
        for claim in claims:
            story = self.stories[claim.notification.id]
            assert story.status in WAITING
            assert claim.notification.attempts == story.attempts
            story.status, story.holder, story.lease = Status.SENDING, claim, None
            self.holds.append(Hold(claim))

    @precondition(lambda self: self.holds)
    @rule(places=st.lists(st.integers(0, 20), min_size=1, max_size=4), ending=st.sampled_from(ENDINGS))
    def report(self, places: list[int], ending: Callable[[Claim], Settlement]) -> None:
        """Workers report how their claims ended; some twice, some long after."""
        self._settle([self.holds[-1 - place % len(self.holds)] for place in places], ending)

    def _settle(self, holds: Iterable[Hold], ending: Callable[[Claim], Settlement]) -> None:
        settlements, expected = [], set()
        for hold in holds:
            hold.ending = hold.ending or ending
            settlements.append(hold.ending(hold.claim))
            if self._tell(hold, settlements[-1]):
                expected.add(hold.claim.notification.id)

        effective = self.run(self.house.store.settle(settlements))

        assert effective == expected
        self.run(self._make_due(each.claim.notification.id for each in settlements))

    def _tell(self, hold: Hold, settlement: Settlement) -> bool:
        """Go on with the story; whether the settlement must take effect."""
        story = self.stories[hold.claim.notification.id]
        if story.holder is hold.claim:
            self._end(story, settlement)
            hold.reported = True
            return True
        if hold.was_lost and not hold.reported:
            story.history.append(settlement.entry.outcome)
            hold.reported = True
        return False

    def _end(self, story: Story, settlement: Settlement) -> None:
        story.status, story.holder, story.lease = settlement.status, None, None
        story.history.append(settlement.entry.outcome)
        story.attempts += settlement.entry.kind == "attempt"
        story.letters += settlement.dead_letter

    async def _make_due(self, ids: Iterable[NotificationId]) -> None:
        """Let the time pass that retries wait."""
        past = self.house.store.now() - timedelta(seconds=1)
        for one in set(ids):
            if self.stories[one].status is Status.PENDING:
                await self.house.set(one, due_at=past)

    @precondition(lambda self: self.any_of(Status.SENDING))
    @rule(place=st.integers(0, 20))
    def lose(self, place: int) -> None:
        """A worker dies, or is slow: its lease runs out."""
        held = [story.holder for story in self.stories.values() if story.holder]
        claim = held[place % len(held)]
        self.run(self.house.lease_ends(claim.notification.id, ago=timedelta(seconds=1)))

    @precondition(lambda self: self.any_of(Status.SENDING))
    @rule(place=st.integers(0, 20), report_first=st.booleans(), ending=st.sampled_from(ENDINGS))
    def overtake(self, place: int, report_first: bool, ending: Callable[[Claim], Settlement]) -> None:
        """A slow worker's claim is found lost and made again; then both report, in either order."""
        slow = [hold for hold in self.holds if self.stories[hold.claim.notification.id].holder is hold.claim]
        hold = slow[place % len(slow)]
        self.run(self.house.lease_ends(hold.claim.notification.id, ago=timedelta(seconds=1)))
        self.sweep(for_good=False, twice=False)
        self.claim(limit=50)
        [new] = [each for each in self.holds if self.stories[hold.claim.notification.id].holder is each.claim]
        for each in (hold, new) if report_first else (new, hold):
            self._settle([each], ending)

    @precondition(lambda self: self.any_of(Status.SENDING))
    @rule(for_good=st.booleans(), twice=st.booleans())
    def sweep(self, for_good: bool, twice: bool) -> None:
        found: Sequence[Claim] = self.run(self.house.store.lost_claims(limit=100))
        settlements = [(lost_for_good if for_good else lost)(claim) for claim in found]
        for settlement in settlements:
            story = self.stories[settlement.claim.notification.id]
            assert story.holder is not None
            assert story.holder.epoch == settlement.claim.epoch
            for hold in self.holds:
                hold.was_lost |= hold.claim is story.holder
            self._end(story, settlement)

        effective = self.run(self.house.store.settle(settlements))
        repeated = self.run(self.house.store.settle(settlements)) if twice else frozenset()

        assert effective == {claim.notification.id for claim in found}
        assert repeated == frozenset()
        self.run(self._make_due(effective))

    @rule(place=st.integers(0, 20))
    def expire(self, place: int) -> None:
        one = self.one_of(place, *WAITING)
        story = self.stories[one]
        self.run(self.house.set(one, expires_at=self.house.store.now() - timedelta(seconds=1)))
        expected = story.status in WAITING

        count = self.run(self.house.store.expire(limit=10))

        self.run(self.house.set(one, expires_at=None))
        assert count == expected
        if expected:
            story.status = Status.EXPIRED
            story.history.append(Outcome.EXPIRED)

    @rule(place=st.integers(0, 20))
    def cancel(self, place: int) -> None:
        one = self.one_of(place, *WAITING)
        story = self.stories[one]

        cancelled = self.run(self.house.archive.cancel(one))

        assert (cancelled is not None) == (story.status in WAITING)
        if cancelled:
            story.status = Status.CANCELLED
            story.history.append(Outcome.CANCELLED)

    @rule(place=st.integers(0, 20), status=st.sampled_from(sorted(WAITING)))
    def retry(self, place: int, status: Status) -> None:
        one = self.one_of(place, Status.FAILED)
        story = self.stories[one]

        retried = self.run(self.house.archive.retry(one, by="root", status=status))

        assert (retried is not None) == (story.status is Status.FAILED)
        if retried:
            self._redriven([one], status)

    @precondition(lambda self: any(story.letters for story in self.stories.values()))
    @rule(places=st.lists(st.integers(0, 20), max_size=3), status=st.sampled_from(sorted(WAITING)))
    def redrive(self, places: list[int], status: Status) -> None:
        everything = DeadLetterFilter(redriven=None)
        letters = self.run(self.house.dead_letters.find(everything, limit=100)).rows
        asked = [letters[place % len(letters)] for place in places]
        ids: list[DeadLetterId] = [letter.id for letter in asked]
        expected = {letter.id for letter in asked if letter.redriven_at is None}

        redriven = self.run(self.house.dead_letters.redrive(ids, by="root", status=status))

        assert {letter.id for letter in redriven} == expected
        self._redriven([letter.notification_id for letter in redriven], status)

    @precondition(lambda self: self.any_of(Status.FAILED))
    @rule(limit=st.integers(1, 3), status=st.sampled_from(sorted(WAITING)))
    def redrive_oldest(self, limit: int, status: Status) -> None:
        failed = sum(story.status is Status.FAILED for story in self.stories.values())

        redriven = self.run(
            self.house.dead_letters.redrive_matching(DeadLetterFilter(), by="r", status=status, limit=limit)
        )

        assert len(redriven) == min(limit, failed)
        self._redriven([letter.notification_id for letter in redriven], status)

    def _redriven(self, ids: Iterable[NotificationId], status: Status) -> None:
        for one in ids:
            story = self.stories[one]
            assert story.status is Status.FAILED
            story.status = status
            story.history.append(Outcome.REDRIVEN)
        self.run(self._past(ids))

    async def _past(self, ids: Iterable[NotificationId]) -> None:
        past = self.house.store.now() - timedelta(seconds=1)
        for one in ids:
            await self.house.set(one, due_at=past)

    # --- what must always hold ---

    @invariant()
    def every_story_is_true(self) -> None:
        if hasattr(self, "stories"):
            self.run(self._look())

    async def _look(self) -> None:
        async with self.house.database.statement() as connection:
            rows = {row.id: row for row in (await connection.execute(select(notifications))).all()}
            histories = (await connection.execute(select(lines).order_by(lines.c.id))).all()
            letters = (await connection.execute(select(dead_letters))).all()
        assert rows.keys() == self.stories.keys()  # nothing lost, nothing twice
        for one, story in self.stories.items():
            row = rows[one]
            before = getattr(self, "last", {}).get(one)
            told = [line for line in histories if line.notification_id == one]
            of_this = [letter for letter in letters if letter.notification_id == one]
            assert Status(row.status) is story.status
            assert row.attempts == story.attempts
            assert row.retry_count == max(row.attempts - 1, 0)
            assert [line.outcome for line in told] == story.history
            assert len(of_this) == story.letters
            still_open = sum(letter.redriven_at is None for letter in of_this)
            assert still_open == (story.status is Status.FAILED)
            if story.status not in {Status.CANCELLED, Status.EXPIRED}:  # there it means nothing
                has_lease = story.status is Status.SENDING or story.lease is not None
                assert (row.lease_until is not None) == has_lease
            assert (row.sent_at is not None) == (story.status in {Status.SENT, Status.DELIVERED})
            if story.holder:
                assert row.epoch == story.holder.epoch
            if before:
                self._only_forward(before, row)
        self.last = rows

    def _only_forward(self, before: Any, after: Any) -> None:
        allowed = self.forward.get(Status(before.status), set())
        assert after.status == before.status or Status(after.status) in allowed
        assert after.epoch >= before.epoch
        assert after.attempts >= before.attempts
        assert before.sent_at is None or after.sent_at == before.sent_at


def play(url: Callable[[AsyncExitStack], str], *, games: int, steps: int, life: type[Life] = Life) -> None:
    machine = type("Life", (life,), {"url": staticmethod(url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=games,
            stateful_step_count=steps,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking here takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def copy_of(template: Path) -> Callable[[AsyncExitStack], str]:
    def copy(stack: AsyncExitStack) -> str:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=template.parent))
        return f"sqlite:///{shutil.copy(template, Path(folder) / 'notifications.db')}"

    return copy


def test_life_on_sqlite(sqlite_template: Path) -> None:
    play(copy_of(sqlite_template), games=settings().max_examples // 5, steps=25)


@pytest.mark.postgres
def test_life_on_postgres(postgres_tables: str) -> None:
    play(lambda _: postgres_tables, games=settings().max_examples // 6, steps=20)
