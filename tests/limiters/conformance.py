"""What every limiter promises; an adapter's test inherits it and says how to make one and how time passes."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from notification_service.ports import Allowance, Limiter


class LimiterConformance(ABC):
    """The sentences of `ports.Limiter`, one test for each."""

    window = timedelta(hours=1)
    """As long as the adapter's clock makes bearable."""
    slack = timedelta(seconds=0)
    """How far the adapter's clock may be off; zero where the test moves it."""

    @abstractmethod
    def make(self, limit: int) -> Limiter:
        """Return a limiter that has counted nothing, with `self.window`."""

    @abstractmethod
    async def tick(self, time: timedelta) -> None:
        """Let that much time pass for the limiter."""

    async def test_each_id_gets_its_answer_in_the_order_asked(self) -> None:
        limiter = self.make(limit=1)
        await limiter.allow_many(["ann"])

        answers = await limiter.allow_many(["bob", "ann", "cy"])

        assert [answer.allowed for answer in answers] == [True, False, True]

    async def test_nothing_asked_is_nothing_answered(self) -> None:
        limiter = self.make(limit=1)

        assert list(await limiter.allow_many([])) == []

    async def test_a_user_is_allowed_up_to_the_limit_and_no_further(self) -> None:
        limiter = self.make(limit=3)

        answers = [await self._ask(limiter, "ann") for _ in range(5)]

        assert answers == [True, True, True, False, False]

    async def test_a_user_listed_several_times_is_counted_several_times_the_earlier_ones_winning(
        self,
    ) -> None:
        limiter = self.make(limit=2)

        answers = await limiter.allow_many(["ann", "bob", "ann", "ann"])

        assert [answer.allowed for answer in answers] == [True, True, True, False]

    async def test_users_do_not_share_their_limit(self) -> None:
        limiter = self.make(limit=1)
        await limiter.allow_many(["ann", "ann"])

        assert await self._ask(limiter, "bob")

    async def test_user_ids_are_told_apart_by_every_character(self) -> None:
        limiter = self.make(limit=1)
        ids = ["ann", "Ann", "ann ", "ann:1", "ann\n", "änn", "a" * 255, "{ann}"]

        answers = await limiter.allow_many(ids)

        assert all(answer.allowed for answer in answers)

    async def test_what_is_refused_is_not_counted(self) -> None:
        """Whoever keeps knocking is let in as soon as one who waits."""
        limiter = self.make(limit=1)
        await self._ask(limiter, "ann")
        await self.tick(self.window / 2)
        for _ in range(5):
            await self._ask(limiter, "ann")

        await self.tick(self.window / 2 + self.slack)

        assert await self._ask(limiter, "ann")

    async def test_the_window_slides(self) -> None:
        """No moment exists at which a burst of twice the limit passes."""
        limiter = self.make(limit=2)
        await self._ask(limiter, "ann")
        await self.tick(self.window * 0.75)
        await self._ask(limiter, "ann")

        await self.tick(self.window * 0.25 + self.slack)

        assert [await self._ask(limiter, "ann") for _ in range(2)] == [True, False]

    async def test_just_before_its_hour_is_over_a_notification_still_counts(self) -> None:
        limiter = self.make(limit=1)
        await self._ask(limiter, "ann")

        await self.tick(self.window * 0.9)

        assert not await self._ask(limiter, "ann")

    async def test_the_standing_tells_limit_and_remaining(self) -> None:
        limiter = self.make(limit=3)

        answers = await limiter.allow_many(["ann"] * 4)

        assert [answer.limit for answer in answers] == [3, 3, 3, 3]
        assert [answer.remaining for answer in answers] == [2, 1, 0, 0]

    async def test_reset_is_the_time_until_the_window_is_empty_again(self) -> None:
        limiter = self.make(limit=2)
        await self._ask(limiter, "ann")
        await self.tick(self.window / 2)

        counted, refused = (await limiter.allow_many(["ann", "ann"]))[:2]

        self._about(counted.reset, self.window)
        self._about(refused.reset, self.window)

    async def test_reset_of_a_refused_user_runs_down(self) -> None:
        limiter = self.make(limit=1)
        await self._ask(limiter, "ann")
        await self.tick(self.window / 2)

        (refused,) = await limiter.allow_many(["ann"])

        self._about(refused.reset, self.window / 2)

    async def test_retry_after_is_zero_when_allowed(self) -> None:
        limiter = self.make(limit=1)

        (allowed,) = await limiter.allow_many(["ann"])

        assert allowed.retry_after == timedelta()

    async def test_retry_after_is_the_time_until_one_more_is_allowed(self) -> None:
        limiter = self.make(limit=2)
        await self._ask(limiter, "ann")
        await self.tick(self.window / 4)
        await self._ask(limiter, "ann")

        (refused,) = await limiter.allow_many(["ann"])
        self._about(refused.retry_after, self.window * 3 / 4)
        await self.tick(refused.retry_after + self.slack)

        assert [await self._ask(limiter, "ann") for _ in range(2)] == [True, False]

    async def test_what_is_given_back_may_be_used_again(self) -> None:
        limiter = self.make(limit=2)
        await limiter.allow_many(["ann", "ann", "bob"])

        await limiter.give_back_many(["ann"])

        answers = await limiter.allow_many(["ann", "ann", "bob", "bob"])
        assert [answer.allowed for answer in answers] == [True, False, True, False]

    async def test_an_id_given_back_several_times_is_taken_back_several_times(self) -> None:
        limiter = self.make(limit=2)
        await limiter.allow_many(["ann", "ann"])

        await limiter.give_back_many(["ann", "ann"])

        assert [await self._ask(limiter, "ann") for _ in range(3)] == [True, True, False]

    async def test_giving_back_what_was_never_counted_grants_nothing(self) -> None:
        limiter = self.make(limit=1)

        await limiter.give_back_many(["ann", "ann"])

        assert [await self._ask(limiter, "ann") for _ in range(2)] == [True, False]

    async def test_concurrent_questions_never_pass_the_limit_together(self) -> None:
        limiter = self.make(limit=10)

        answers = await asyncio.gather(*(limiter.allow_many(["ann", "bob"]) for _ in range(40)))

        assert self._allowed(answers, 0) == self._allowed(answers, 1) == 10

    async def test_check_tells_in_one_line_where_is_counted(self) -> None:
        line = await self.make(limit=1).check()

        assert line
        assert "\n" not in line

    async def _ask(self, limiter: Limiter, user_id: str) -> bool:
        (answer,) = await limiter.allow_many([user_id])
        return answer.allowed

    def _about(self, actual: timedelta, expected: timedelta) -> None:
        """Never too short by more than the clock's slack and a rounding."""
        assert abs(actual - expected) <= self.slack + timedelta(microseconds=10)

    @staticmethod
    def _allowed(answers: Sequence[Sequence[Allowance]], place: int) -> int:
        return sum(answer[place].allowed for answer in answers)
