"""Accepting with a broker: it is used right after the commit, and never makes anybody fail or wait."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest
import structlog

from notification_service.application import publish
from notification_service.application.submission import Accepted, Submission
from notification_service.domain.acceptance import IdempotencyKey
from notification_service.domain.errors import BrokerUnavailableError, StoreUnavailableError
from notification_service.domain.notification import Draft, NotificationId, Status
from tests.application.desk import a_draft, a_submission
from tests.application.office import TRUST, Office, shown
from tests.stores.house import until
from tests.stores.making import a_key

pytestmark = pytest.mark.usefixtures("hurried")


def asking(*drafts: Draft, key: IdempotencyKey | None = None) -> Submission:
    return a_submission(*drafts, key=key, render=shown)


def told(accepted: Accepted) -> list[str]:
    """The statuses in the answer."""
    return [each.split()[1] for each in accepted.answer.decode().split(",")]


def ids(accepted: Accepted) -> list[NotificationId]:
    return [NotificationId(UUID(each.split()[0])) for each in accepted.answer.decode().split(",")]


async def timed(office: Office, submission: Submission) -> tuple[Accepted, float]:
    began = time.monotonic()
    accepted = await office.accept(submission)
    return accepted, time.monotonic() - began


class TestABrokerThatIsWell:
    """The ordinary day."""

    async def test_what_it_confirms_is_answered_as_queued_and_is_trusted_to_it(self, office: Office) -> None:
        accepted = await office.accept(asking())

        assert told(accepted) == ["queued"]
        await office.become(ids(accepted), Status.QUEUED)
        row = await office.house.row(ids(accepted)[0])
        assert office.queue.ids == set(ids(accepted))
        assert abs(row.lease_until - office.store.now() - TRUST) < timedelta(seconds=5)

    async def test_what_is_scheduled_is_not_published(self, office: Office) -> None:
        later = office.store.now() + timedelta(hours=1)

        accepted = await office.accept(asking(a_draft(scheduled_for=later), a_draft()))

        assert told(accepted) == ["pending", "queued"]
        assert office.queue.ids == {ids(accepted)[1]}

    async def test_while_it_is_being_published_no_relay_publishes_it_too(self, office: Office) -> None:
        office.queue.takes_seconds = office.outbox.marking_takes_seconds = 0.08
        async with office.relaying(relays=3):
            accepted = [await office.accept(asking()) for _ in range(5)]

            await office.become([one for each in accepted for one in ids(each)], Status.QUEUED)

        assert set(office.queue.given.values()) == {1}

    async def test_hundreds_at_once_are_marked_by_few_transactions(self, office: Office) -> None:
        submissions = [asking(a_draft(user_id=str(number))) for number in range(300)]

        accepted = await asyncio.gather(*map(office.accept, submissions))

        assert [told(each) for each in accepted] == [["queued"]] * 300
        await office.become([one for each in accepted for one in ids(each)], Status.QUEUED)
        assert office.queue.calls["publish"] < 20

    async def test_closing_marks_what_was_published(self, office: Office) -> None:
        office.outbox.marking_takes_seconds = 0.1
        accepted = await office.accept(asking())

        await office.accept.__aexit__(None, None, None)
        await office.publisher.__aexit__(None, None, None)

        assert await office.statuses(ids(accepted)) == {Status.QUEUED}

    async def test_what_cannot_be_marked_is_answered_all_the_same(self, office: Office) -> None:
        office.store.meanwhile = lambda: setattr(office.outage, "is_on", True)

        accepted = await office.accept(asking())

        assert told(accepted) == ["queued"]
        assert await office.statuses(ids(accepted)) == {Status.PENDING}


class TestABrokerThatIsNot:
    """Down, hanging, slow, refusing, broken."""

    @pytest.mark.parametrize(
        "error", [BrokerUnavailableError(), ValueError("a bug"), ConnectionError(), StoreUnavailableError()]
    )
    async def test_one_that_fails_costs_nobody_the_answer(self, office: Office, error: Exception) -> None:
        office.queue.fails_with = error

        accepted = await asyncio.gather(*(office.accept(asking(a_draft(), a_draft())) for _ in range(3)))

        assert [told(each) for each in accepted] == [["pending", "pending"]] * 3
        assert await office.house.count() == 6

    async def test_one_that_hangs_is_waited_for_a_second_once_and_then_not_at_all(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()  # the real second
        assert timedelta(seconds=1) == publish.PATIENCE
        office.queue.hangs = True

        first, patience = await timed(office, asking())
        others = [await timed(office, asking(key=a_key(str(number)))) for number in range(10)]

        assert 0.9 < patience < 1.9
        assert max(seconds for _, seconds in others) < 0.9
        assert {status for each, _ in [(first, 0), *others] for status in told(each)} == {"pending"}
        assert office.queue.calls["publish"] == 1

    async def test_one_that_is_down_is_asked_by_nobody_but_one(self, office: Office) -> None:
        office.queue.is_away = True

        for _ in range(20):
            assert told(await office.accept(asking())) == ["pending"]

        assert office.queue.calls["publish"] == 1
        await asyncio.sleep(0.5)
        assert 1 <= office.queue.calls["check"] <= 6

    async def test_one_that_is_back_is_used_again(self, office: Office) -> None:
        office.queue.is_away = True
        await office.accept(asking())
        office.queue.is_away = False

        await until(lambda: office.queue.calls["check"] > 0)

        accepted = await office.accept(asking())
        assert told(accepted) == ["queued"]

    async def test_one_that_answers_and_takes_nothing_is_waited_for_ever_more_seldom(
        self, office: Office
    ) -> None:
        """RabbitMQ out of memory, Kafka without enough replicas: a check says nothing about them."""
        office.queue.publishing_hangs = True
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            await office.accept(asking())
            await asyncio.sleep(0.01)

        # At first, and 0.1, 0.2, 0.4, 0.8 s after the last one ended; without growth a dozen times.
        assert 2 <= office.queue.calls["publish"] <= 6

    async def test_what_it_does_not_confirm_is_answered_as_pending_alone(self, office: Office) -> None:
        office.queue.refuses = frozenset({"sms"})
        sms = a_draft(channel={"type": "sms", "phone_number": "+4915112345678"})

        with structlog.testing.capture_logs() as lines:
            accepted = await office.accept(asking(a_draft(), sms, a_draft()))

        assert told(accepted) == ["queued", "pending", "queued"]
        await office.become([ids(accepted)[at] for at in (0, 2)], Status.QUEUED)
        assert await office.statuses(ids(accepted)[1:2]) == {Status.PENDING}
        [line] = [line for line in lines if line["event"] == "queue_failed"]
        assert (line["notification_id"], line["correlation_id"]) == (
            str(ids(accepted)[1]),
            "correlation-1",
        )
        assert "+49" not in repr(lines)

    @pytest.mark.parametrize("turns", ["is_away", "hangs"])
    async def test_what_it_missed_is_published_by_the_relay_when_it_is_back(
        self, office: Office, turns: str
    ) -> None:
        setattr(office.queue, turns, True)
        accepted = [await office.accept(asking()) for _ in range(5)]
        setattr(office.queue, turns, False)

        async with office.relaying(relays=3):
            await office.become([one for each in accepted for one in ids(each)], Status.QUEUED)

        assert set(office.queue.given.values()) == {1}

    async def test_one_that_comes_back_in_the_middle_is_not_given_it_by_both(self, office: Office) -> None:
        """What was stored without a hold is the relay's, whatever has become of the broker meanwhile."""
        office.queue.is_away = True
        await office.accept(asking())
        office.queue.is_away = False
        office.store.meanwhile = lambda: setattr(office.publisher, "_is_well", True)
        accepted = await office.accept(asking())
        office.store.meanwhile = None

        async with office.relaying():
            await office.become(ids(accepted), Status.QUEUED)

        assert office.queue.given[ids(accepted)[0]] == 1

    async def test_closing_does_not_wait_for_it(self, office: Office) -> None:
        office.queue.hangs = True
        await office.accept(asking())

        async with asyncio.timeout(0.5):
            await office.accept.__aexit__(None, None, None)
            await office.publisher.__aexit__(None, None, None)


class TestKeptAnswers:
    """A repeat gets the first answer's bytes, whatever became of the publication."""

    @pytest.mark.parametrize("turns", ["is_away", "hangs", "publishing_hangs", "is_well"])
    async def test_a_repeat_gets_the_first_answer(self, office: Office, turns: str) -> None:
        setattr(office.queue, turns, True)

        first = await office.accept(asking(key=a_key()))
        repeats = [await office.accept(asking(key=a_key())) for _ in range(3)]
        recalled = await office.accept.recall(a_key())

        assert {each.answer for each in repeats} == {first.answer}
        assert recalled is not None
        assert (recalled.answer, recalled.replayed) == (first.answer, True)
        assert told(first) == ["queued" if turns == "is_well" else "pending"]

    @pytest.mark.parametrize("turns", ["is_away", "hangs", "is_well"])
    @pytest.mark.parametrize("drafts", [1, 3])
    async def test_repeats_at_once_get_the_first_answer_too(
        self, office: Office, turns: str, drafts: int
    ) -> None:
        """In its own flush, in later ones, and before its publication has failed."""
        setattr(office.queue, turns, True)

        async def later(turn: int) -> Accepted:
            await asyncio.sleep(0.005 * turn)
            return await office.accept(asking(*[a_draft()] * drafts, key=a_key()))

        results = await asyncio.gather(*(later(turn % 20) for turn in range(100)))

        assert len({each.answer for each in results}) == 1
        assert sum(not each.replayed for each in results) == 1
        assert all(each.allowance is None for each in results if each.replayed)
        assert await office.house.count() == drafts

    async def test_one_answer_is_corrected_and_its_neighbours_are_not(self, office: Office) -> None:
        office.queue.refuses = frozenset({"sms"})
        sms = a_draft(channel={"type": "sms", "phone_number": "+4915112345678"})

        first, second = await asyncio.gather(
            office.accept(asking(sms, key=a_key("sms"))), office.accept(asking(key=a_key("email")))
        )

        repeats = [await office.accept(asking(key=a_key(name))) for name in ("sms", "email")]
        assert [each.answer for each in repeats] == [first.answer, second.answer]
        assert [told(each) for each in repeats] == [["pending"], ["queued"]]

    @pytest.mark.parametrize("error", [StoreUnavailableError(), ValueError("a bug")])
    async def test_an_answer_that_cannot_be_corrected_is_given_all_the_same(
        self, office: Office, error: Exception
    ) -> None:
        office.queue.is_away, office.store.corrections_fail_with = True, error

        accepted = await office.accept(asking(key=a_key()))

        assert told(accepted) == ["pending"]
