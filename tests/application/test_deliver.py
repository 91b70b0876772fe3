"""What a worker does with what is due, on the real store and broker."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from notification_service.domain.errors import (
    StoreUnavailableError,
)
from notification_service.domain.notification import Message, Outcome, ProviderReceipt, Reason, Status
from notification_service.domain.retry import RetryPolicy
from tests.application.endings import ambiguous, confirm, hang, permanent, transient, wait_for
from tests.application.workshop import PATIENT, Workshop
from tests.stores.house import until
from tests.stores.making import lost

pytestmark = pytest.mark.usefixtures("impatient")


class TestEndings:
    """What each ending of a provider call leads to."""

    async def test_what_the_provider_takes_is_sent(self, workshop: Workshop) -> None:
        one = await workshop.add()

        await workshop.work()

        settled = await workshop.house.get(one.id)
        [line] = await workshop.history(one)
        assert (settled.status, settled.status_reason, settled.attempts) == (Status.SENT, None, 1)
        assert settled.sent_at is not None
        assert (line.kind, line.outcome, line.provider) == ("attempt", Outcome.DELIVERED, "scripted")
        assert line.finished_at >= line.started_at

    async def test_what_the_provider_vouches_for_is_delivered(self, workshop: Workshop) -> None:
        workshop.provider.always = confirm
        one = await workshop.add()

        await workshop.work()

        assert await workshop.house.status(one.id) is Status.DELIVERED

    async def test_the_provider_gets_what_was_stored(self, workshop: Workshop) -> None:
        one = await workshop.add(metadata={"a": "b"}, reference="order-7", user_id="bob")

        await workshop.work()

        [message] = workshop.provider.taken
        assert (message.notification_id, message.user_id, message.body) == (one.id, "bob", one.body)
        assert (message.metadata, message.reference, message.attempt) == ({"a": "b"}, "order-7", 1)
        assert message.channel.model_dump() == one.channel
        assert message.trail.correlation_id == one.trail.correlation_id

    @pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.8), (0.5, 1.0), (0.999_999, 1.2)])
    async def test_a_refusal_for_now_is_due_again_as_scheduled(
        self, workshop: Workshop, jitter: float, share: float
    ) -> None:
        workshop.policy, workshop.jitter = PATIENT, jitter
        workshop.provider.endings = [transient()]
        one = await workshop.add()
        before = workshop.store.now()

        await workshop.work()

        settled = await workshop.house.get(one.id)
        [line] = await workshop.history(one)
        assert (settled.status, settled.status_reason) == (Status.PENDING, Reason.RETRY_SCHEDULED)
        assert (settled.attempts, settled.retry_count, settled.sent_at) == (1, 0, None)
        delay = settled.due_at - before
        assert abs(delay - PATIENT.schedule[0] * share) < timedelta(seconds=2)
        assert (line.outcome, line.error_code, line.detail) == (Outcome.TRANSIENT_ERROR, "http_503", "busy")
        assert line.next_attempt_at == settled.due_at

    async def test_a_retry_never_comes_before_the_provider_wants_it(self, workshop: Workshop) -> None:
        workshop.policy = PATIENT
        workshop.provider.endings = [transient(retry_after=timedelta(minutes=30))]
        one = await workshop.add()
        before = workshop.store.now()

        await workshop.work()

        due_at = (await workshop.house.get(one.id)).due_at
        assert timedelta(minutes=30) <= due_at - before < timedelta(minutes=31)

    async def test_after_refusals_for_now_it_is_sent(self, workshop: Workshop) -> None:
        workshop.provider.endings = [transient(), transient()]
        one = await workshop.add()

        await workshop.work()

        settled = await workshop.house.get(one.id)
        assert (settled.status, settled.attempts, settled.retry_count) == (Status.SENT, 3, 2)
        assert [message.attempt for message in workshop.provider.taken] == [1, 2, 3]
        assert len(await workshop.history(one)) == 3

    async def test_a_refusal_for_good_is_a_dead_letter_at_once(self, workshop: Workshop) -> None:
        workshop.provider.endings = [permanent()]
        one = await workshop.add()

        await workshop.work()

        settled = await workshop.house.get(one.id)
        [letter] = await workshop.dead_letters()
        assert (settled.status, settled.status_reason) == (Status.FAILED, Reason.PROVIDER_REJECTED)
        assert (letter.notification_id, letter.detail, letter.attempts) == (one.id, "no such mailbox", 1)
        assert len(workshop.provider.taken) == 1

    async def test_a_used_up_budget_is_a_dead_letter(self, workshop: Workshop) -> None:
        """As many retries as the policy grants, so one attempt more than that."""
        workshop.provider.endings = [transient() for _ in range(10)]
        one = await workshop.add()

        await workshop.work()

        settled = await workshop.house.get(one.id)
        [letter] = await workshop.dead_letters()
        assert (settled.status, settled.status_reason) == (Status.FAILED, Reason.RETRIES_EXHAUSTED)
        assert (settled.attempts, settled.retry_count, letter.attempts) == (4, 3, 4)
        assert len(workshop.provider.taken) == 4

    async def test_a_retry_by_hand_has_a_fresh_budget_while_the_count_goes_on(
        self, workshop: Workshop
    ) -> None:
        workshop.provider.endings = [transient() for _ in range(7)]
        one = await workshop.add()
        await workshop.work()

        await workshop.house.archive.retry(one.id, by="root", status=Status.QUEUED)
        await workshop.work()

        settled = await workshop.house.get(one.id)
        assert (settled.status, settled.attempts, settled.retry_count) == (Status.SENT, 8, 7)
        assert len(workshop.provider.taken) == 8

    async def test_an_unknown_ending_is_tried_again_when_the_policy_says_so(self, workshop: Workshop) -> None:
        workshop.provider.endings = [ambiguous()]
        one = await workshop.add()

        await workshop.work()

        assert await workshop.house.status(one.id) is Status.SENT
        outcomes = [line.outcome for line in await workshop.history(one)]
        assert outcomes == [Outcome.AMBIGUOUS, Outcome.DELIVERED]

    async def test_an_unknown_ending_is_held_when_the_policy_says_so(self, workshop: Workshop) -> None:
        workshop.policy = RetryPolicy(max_retries=3, schedule=(timedelta(),), hold_ambiguous=True)
        workshop.provider.endings = [ambiguous()]
        one = await workshop.add()

        await workshop.work()

        settled = await workshop.house.get(one.id)
        assert (settled.status, settled.status_reason) == (Status.FAILED, Reason.AMBIGUOUS)
        assert len(await workshop.dead_letters()) == 1
        assert len(workshop.provider.taken) == 1

    async def test_silence_is_an_unknown_ending(self, workshop: Workshop) -> None:
        workshop.pace = replace(workshop.pace, send_timeout=timedelta(milliseconds=30))
        workshop.provider.endings = [hang]
        one = await workshop.add()

        await workshop.work()

        first, second = await workshop.history(one)
        assert (first.outcome, first.error_code) == (Outcome.AMBIGUOUS, "timeout")
        assert second.outcome is Outcome.DELIVERED

    @pytest.mark.parametrize("bug", [KeyError("x"), AssertionError(), RecursionError(), TimeoutError()])
    async def test_a_bug_in_a_provider_is_an_unknown_ending_and_no_more(
        self, workshop: Workshop, bug: Exception
    ) -> None:
        workshop.provider.endings = [bug]
        one, other = await workshop.add(priority=9), await workshop.add()

        await workshop.work()

        assert [await workshop.house.status(each.id) for each in (one, other)] == [Status.SENT] * 2
        assert (await workshop.history(one))[0].outcome is Outcome.AMBIGUOUS

    async def test_a_provider_without_a_receipt_is_an_unknown_ending_and_no_more(
        self, workshop: Workshop
    ) -> None:
        async def nothing(_: Message) -> Any:
            return None

        workshop.provider.endings = [nothing]
        one = await workshop.add()

        await workshop.work()

        assert await workshop.house.status(one.id) is Status.SENT
        assert (await workshop.history(one))[0].outcome is Outcome.AMBIGUOUS

    async def test_a_provider_that_cancels_itself_harms_nobody(self, workshop: Workshop) -> None:
        """Its claim is the sweeper's when the lease has run out."""
        workshop.provider.endings = [asyncio.CancelledError()]
        one, other = await workshop.add(priority=9), await workshop.add()

        async with workshop.working():
            await workshop.becomes(other.id, Status.SENT)
            third = await workshop.add()
            await workshop.becomes(third.id, Status.SENT)

        assert await workshop.house.status(one.id) is Status.SENDING

    async def test_what_a_provider_says_is_made_fit_for_the_store(self, workshop: Workshop) -> None:
        """However long, whatever characters: an ending that can't be stored would be told for ever."""
        workshop.provider.endings = [permanent("a\x00b\ud800\n" + "x" * 9_000, "e\x00" * 500)]
        one = await workshop.add()

        await workshop.work()

        [line] = await workshop.history(one)
        assert line.detail is not None
        assert line.error_code is not None
        assert line.detail.startswith("a b  xxx")
        assert (len(line.detail), len(line.error_code)) == (500, 64)
        assert "\x00" not in line.error_code


class TestSurroundings:
    """What goes wrong around the provider call."""

    @pytest.mark.parametrize("data", [{}, {"type": "email"}, {"type": "fax"}, {"type": "sms"}, [], {"to": 7}])
    async def test_a_malformed_stored_channel_kills_neither_worker_nor_neighbours(
        self, workshop: Workshop, data: object
    ) -> None:
        async def address_needed(message: Message) -> ProviderReceipt:
            message.channel.to.encode()  # type: ignore[union-attr]
            return ProviderReceipt()

        workshop.provider.always = address_needed
        bad = await workshop.house.add_one(priority=9)
        await workshop.house.set(bad.id, channel_data=data)
        neighbour = await workshop.add()

        async with workshop.working():
            await workshop.becomes(neighbour.id, Status.SENT)
            await workshop.becomes(bad.id, Status.FAILED)
            another = await workshop.add()
            await workshop.becomes(another.id, Status.SENT)

        assert len(await workshop.dead_letters()) == 1

    async def test_what_expired_while_it_waited_is_not_sent(self, workshop: Workshop) -> None:
        past = workshop.store.now() - timedelta(seconds=1)
        one, other = await workshop.add(expires_at=past, priority=9), await workshop.add()

        async with workshop.working():
            await workshop.becomes(other.id, Status.SENT)
        await workshop.sweep().once()

        assert await workshop.house.status(one.id) is Status.EXPIRED
        assert [message.notification_id for message in workshop.provider.taken] == [other.id]

    async def test_an_ending_is_settled_however_long_the_store_is_away(self, workshop: Workshop) -> None:
        workshop.store.settle_fails = [StoreUnavailableError() for _ in range(8)]
        one = await workshop.add()

        await workshop.work()

        assert await workshop.house.status(one.id) is Status.SENT
        assert workshop.store.settle_fails == []
        assert len(workshop.provider.taken) == 1

    async def test_an_ending_whose_answer_got_lost_is_settled_once(self, workshop: Workshop) -> None:
        """The store did it and could not say so; the worker repeats itself."""
        workshop.policy = PATIENT
        workshop.provider.endings = [transient(), permanent()]
        workshop.store.settle_fails_afterwards = [StoreUnavailableError() for _ in range(3)]
        ones = [await workshop.add(), await workshop.add()]

        await workshop.work()

        for one in ones:
            assert len(await workshop.history(one)) == 1
            assert (await workshop.house.get(one.id)).attempts == 1
        assert len(await workshop.dead_letters()) == 1

    async def test_one_ending_that_cannot_be_stored_harms_no_other(self, workshop: Workshop) -> None:
        """It is the sweeper's, when the lease has run out."""
        original = workshop.store.settle

        async def picky(settlements: Any) -> Any:
            if any(each.claim.notification.user_id == "odd" for each in settlements):
                raise ValueError("not this one")
            return await original(settlements)

        workshop.store.settle = picky  # type: ignore[method-assign]
        odd = await workshop.add(user_id="odd")
        others = [await workshop.add() for _ in range(5)]

        async with workshop.working():
            for other in others:
                await workshop.becomes(other.id, Status.SENT)

        assert await workshop.house.status(odd.id) is Status.SENDING

    @pytest.mark.parametrize("error", [StoreUnavailableError(), ValueError("a row nobody can read")])
    async def test_a_claim_that_fails_is_tried_again(self, workshop: Workshop, error: Exception) -> None:
        workshop.store.claim_fails = [error, error]
        one = await workshop.add()

        await workshop.work()

        assert await workshop.house.status(one.id) is Status.SENT

    async def test_a_slow_worker_that_lost_its_lease_changes_nothing_any_more(
        self, workshop: Workshop
    ) -> None:
        """A second one sends it; what the first knows is written down as late."""
        door = asyncio.Event()
        workshop.pace = replace(workshop.pace, send_timeout=timedelta(seconds=5))
        workshop.provider.endings = [wait_for(door)]
        one = await workshop.add()
        async with workshop.working():
            await until(lambda: workshop.provider.in_hand == 1)
            await workshop.house.lease_ends(one.id, ago=timedelta(seconds=1))
            [found] = await workshop.store.lost_claims(limit=5)
            await workshop.store.settle([lost(found)])
            await workshop.broker.wake({"email"})
            await workshop.becomes(one.id, Status.SENT)
            after = await workshop.house.row(one.id)

            door.set()

        assert await workshop.house.row(one.id) == after
        lines = await workshop.history(one)
        assert [line.outcome for line in lines] == [Outcome.UNKNOWN, Outcome.DELIVERED, Outcome.DELIVERED]
        assert [line.error_code for line in lines] == ["lease_expired", None, "lease_lost"]
        assert len(workshop.provider.taken) == 2

    async def test_two_workers_send_each_notification_once(self, workshop: Workshop) -> None:
        many = [await workshop.house.add_one() for _ in range(60)]

        async with workshop.working(), workshop.working():
            await workshop.nothing_left()

        sent = [message.notification_id for message in workshop.provider.taken]
        assert len(sent) == len(set(sent)) == len(many)
