"""Any life of a notification where a broker's queue stands between accepting and sending."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from notification_service.domain.acceptance import Acceptance
from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.notification import Notification, Status
from tests.stores.house import AN_HOUR
from tests.stores.making import a_notification
from tests.stores.test_life import FORWARD, Life, Story, copy_of, play

RUNNING_OR_OVER = st.sampled_from([AN_HOUR, -AN_HOUR])


class LifeWithABroker(Life):
    """Publishers and relays join in: slow ones, and some that speak up long after."""

    forward: dict[Status, set[Status]] = FORWARD | {
        Status.PENDING: FORWARD[Status.PENDING] | {Status.QUEUED},
        Status.QUEUED: FORWARD[Status.QUEUED] | {Status.PENDING},
    }

    @initialize()
    def nobody_has_taken_anything(self) -> None:
        self.taken: list[Notification] = []

    @rule(hold=RUNNING_OR_OVER, count=st.integers(1, 3))
    def accept_to_publish(self, hold: timedelta, count: int) -> None:
        now = self.house.store.now()
        made = [a_notification(now=now, status=Status.PENDING) for _ in range(count)]
        acceptance = Acceptance(notifications=tuple(made))
        self.run(self.house.store.add_many([acceptance], keep_answers=AN_HOUR, hold=hold))
        self.stories |= {one.id: Story(Status.PENDING, lease=hold) for one in made}
        self.taken += made

    @precondition(lambda self: self.any_of(Status.PENDING))
    @rule(limit=st.integers(1, 4), hold=RUNNING_OR_OVER)
    def take(self, limit: int, hold: timedelta) -> None:
        free = [
            one
            for one, story in self.stories.items()
            if story.status is Status.PENDING and (story.lease is None or story.lease < timedelta())
        ]

        taken: Sequence[Notification] = self.run(self.house.outbox.take(limit=limit, hold=hold))

        assert {one.id for one in taken} <= set(free)
        assert len(taken) == min(limit, len(free))
        for one in taken:
            assert one.attempts == self.stories[one.id].attempts
            self.stories[one.id].lease = hold
        self.taken += taken

    @precondition(lambda self: self.taken)
    @rule(places=st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), trust=RUNNING_OR_OVER)
    def mark_queued(self, places: list[int], trust: timedelta) -> None:
        """Some long after, and some twice."""
        named = self._named(places)

        self.run(self.house.outbox.mark_queued(named, trust=trust))

        for story in self._held(named):
            story.status, story.lease = Status.QUEUED, trust

    @precondition(lambda self: self.taken)
    @rule(places=st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
    def release(self, places: list[int]) -> None:
        named = self._named(places)

        self.run(self.house.outbox.release(named))

        for story in self._held(named):
            story.lease = None

    def _named(self, places: list[int]) -> list[Notification]:
        """The newest first; of each notification one, as a publisher has it."""
        newest = [self.taken[-1 - place % len(self.taken)] for place in places]
        return list({one.id: one for one in newest}.values())

    def _held(self, named: Sequence[Notification]) -> Iterator[Story]:
        for one in named:
            story = self.stories[one.id]
            if story.status is Status.PENDING and story.lease is not None and story.attempts == one.attempts:
                yield story

    @precondition(lambda self: self.any_of(Status.QUEUED))
    @rule(everywhere=st.booleans())
    def distrust(self, everywhere: bool) -> None:
        channels = CHANNEL_TYPES if everywhere else ("sms",)
        lost = [
            story
            for story in self.stories.values()
            if everywhere and story.status is Status.QUEUED and story.lease and story.lease < timedelta()
        ]

        count = self.run(self.house.outbox.distrust(channels, limit=100))

        self._are_pending(lost, count)

    @precondition(lambda self: self.any_of(Status.QUEUED))
    @rule()
    def adopt(self) -> None:
        orphans = [
            story for story in self.stories.values() if story.status is Status.QUEUED and story.lease is None
        ]

        count = self.run(self.house.outbox.adopt(limit=100))

        self._are_pending(orphans, count)

    def _are_pending(self, stories: Sequence[Story], count: int) -> None:
        assert count == len(stories)
        for story in stories:
            story.status, story.lease = Status.PENDING, None


def test_life_with_a_broker_on_sqlite(sqlite_template: Path) -> None:
    games = settings().max_examples // 5
    play(copy_of(sqlite_template), games=games, steps=25, life=LifeWithABroker)


@pytest.mark.postgres
def test_life_with_a_broker_on_postgres(postgres_tables: str) -> None:
    games = settings().max_examples // 6
    play(lambda _: postgres_tables, games=games, steps=20, life=LifeWithABroker)
