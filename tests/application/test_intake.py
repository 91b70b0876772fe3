"""What other producers put into our queues becomes a notification or a dead letter, once."""

import asyncio
import json
from dataclasses import replace

import pytest
import structlog

from notification_service.domain.errors import LimiterUnavailableError, StoreUnavailableError
from notification_service.domain.events import Letter
from notification_service.domain.filters import NotificationFilter
from notification_service.domain.notification import Notification, Reason, Status
from notification_service.ports import Allowance
from tests.application.office import Office
from tests.application.remote import RemoteBroker
from tests.stores.house import until

pytestmark = pytest.mark.usefixtures("hurried")

LOGIN = json.dumps({"email": "zoe@example.com", "name": "Zoë {0} {name}"}).encode()
TEMPLATE = b'{"user_id": "ann", "template_code": "welcome", "variables": {}, "request_id": "r-1"}'
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def a_letter(body: bytes = LOGIN, **changes: str | None) -> Letter:
    made = Letter(name="email_queue/1", source="email_queue", body=body, correlation_id="correlation-9")
    return replace(made, **changes)  # type: ignore[arg-type]


async def the_ones(office: Office) -> list[Notification]:
    found = await office.house.archive.find(NotificationFilter(), limit=100)
    return list(found.rows)


class TestALogin:
    """`{email, name}`."""

    async def test_it_becomes_an_email_to_the_person(self, office: Office) -> None:
        await office.intake()([a_letter(traceparent=TRACE)])

        [one] = await the_ones(office)
        assert (one.user_id, one.channel_type, one.channel["to"]) == (
            "zoe@example.com",
            "email",
            "zoe@example.com",
        )
        assert one.body.startswith("Hello Zoë {0} {name},")
        assert (one.trail.correlation_id, one.trail.traceparent) == ("correlation-9", TRACE)
        assert list(await office.dead_letters()) == []

    async def test_handed_out_three_times_it_is_accepted_once(self, office: Office) -> None:
        for _ in range(3):
            await office.intake()([a_letter()])

        assert len(await the_ones(office)) == 1

    async def test_twice_in_one_parcel_it_is_accepted_once(self, office: Office) -> None:
        await office.intake()([a_letter(), a_letter()])

        assert len(await the_ones(office)) == 1

    async def test_two_logins_are_two(self, office: Office) -> None:
        await office.intake()([a_letter(), a_letter(name="email_queue/2")])

        assert len(await the_ones(office)) == 2

    @pytest.mark.parametrize("name", ["", "a b", "\0", "\ud800", "ä", "x" * 5_000])
    async def test_whatever_it_is_called(self, office: Office, name: str) -> None:
        for _ in range(2):
            await office.intake()([a_letter(name=name)])

        assert len(await the_ones(office)) == 1

    @pytest.mark.parametrize("identity", [None, "", "a b", "\0", "\ud800", "ä", "x" * 129])
    async def test_correlation_ids_that_we_cannot_keep_are_replaced(
        self, office: Office, identity: str | None
    ) -> None:
        await office.intake()([a_letter(correlation_id=identity, traceparent=identity)])

        [one] = await the_ones(office)
        assert len(one.trail.correlation_id) == 32
        assert one.trail.correlation_id == one.trail.request_id
        assert one.trail.traceparent is None

    async def test_many_wait_for_each_other_no_more_than_requests_do(self, office: Office) -> None:
        office.queue.takes_seconds = 0.05
        letters = [a_letter(name=str(number)) for number in range(40)]

        async with asyncio.timeout(1.9):
            await office.intake()(letters)

        assert len(await the_ones(office)) == 40


class TestWhatNobodyCanUse:
    """It is parked with its reason, and shown in the broker's dead-letter queue."""

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            (b"", "the message is not JSON"),
            (b"\xff\xfe\x00", "the message is not JSON"),
            (b"[" * 100_000, "the message is not JSON"),
            (b"null", "the message is no JSON object"),
            (b"{}", "neither an event of this service nor a message it knows from others"),
            (b'{"version": 2}', "neither an event of this service nor a message it knows from others"),
            (b'{"email": "a@example.com"}', "neither an event of this service nor a message it knows"),
            (b'{"email": "a@example.com", "name": "A", "x": 1}', "neither an event of this service"),
            (b'{"email": "no address", "name": "A"}', "'email' is no email address"),
            (b'{"email": ["a@example.com"], "name": "A"}', "'email' is no email address"),
            (b'{"email": "a@example.com\\nBcc: b@example.com", "name": "A"}', "'email' is no email address"),
            (b'{"email": "a@example.com", "name": "A\\nB"}', "'name' is no line of at most"),
            (b'{"email": "a@example.com", "name": null}', "'name' is no line of at most"),
            (b'{"email": "a@example.com", "name": "%s"}' % (b"x" * 201), "'name' is no line of at most"),
        ],
    )
    async def test_it_is_parked_once_with_its_reason(self, office: Office, body: bytes, detail: str) -> None:
        for _ in range(3):
            await office.intake()([a_letter(body)])

        [letter] = await office.dead_letters()
        assert letter.reason is Reason.UNREADABLE
        assert letter.detail is not None
        assert letter.detail.startswith(detail)
        assert office.queue.buried[0].body == body
        assert not await the_ones(office)

    async def test_a_message_with_an_unknown_template_is_parked_as_such(self, office: Office) -> None:
        await office.intake()([a_letter(TEMPLATE)])

        [letter] = await office.dead_letters()
        assert (letter.reason, letter.payload["source"]) == (Reason.UNKNOWN_TEMPLATE, "email_queue")
        assert letter.payload["body"] == TEMPLATE.decode()

    async def test_it_harms_none_of_its_neighbours(self, office: Office) -> None:
        letters = [a_letter(body, name=str(at)) for at, body in enumerate([LOGIN, b"junk", LOGIN, TEMPLATE])]

        await office.intake()(letters)

        assert len(await the_ones(office)) == 2
        assert len(await office.dead_letters()) == 2

    async def test_more_logins_than_the_limit_are_parked(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        allowance = Allowance(allowed=False, limit=0, remaining=0, reset=office.trust)

        async def refuse(users: list[str]) -> list[Allowance]:
            return [allowance for _ in users]

        monkeypatch.setattr(office.accept._limiter, "allow_many", refuse)

        await office.intake()([a_letter()])

        [letter] = await office.dead_letters()
        assert letter.reason is Reason.RATE_LIMITED

    async def test_a_name_that_was_used_for_another_message_is_parked(self, office: Office) -> None:
        await office.intake()([a_letter()])

        await office.intake()([a_letter(LOGIN.replace(b"zoe", b"bob"))])

        [letter] = await office.dead_letters()
        assert letter.detail == "IdempotencyKeyReusedError"

    async def test_it_is_counted_and_logged_without_what_it_holds(self, office: Office) -> None:
        secret = b'{"email": "secret@example.com", "password": "geheim"}'

        with structlog.testing.capture_logs() as lines:
            await office.intake()([a_letter(secret)])

        [line] = [line for line in lines if line["event"] == "parked"]
        assert (line["source"], line["reason"]) == ("email_queue", Reason.UNREADABLE)
        assert "secret" not in repr(lines)
        assert "geheim" not in repr(lines)
        assert 'failed_total{reason="unreadable"} 1.0' in office.metrics.render()[0].decode()

    @pytest.mark.parametrize("turns", ["is_away", "burying_hangs"])
    async def test_a_broker_that_cannot_show_it_goes_without(self, office: Office, turns: str) -> None:
        setattr(office.queue, turns, True)

        async with asyncio.timeout(1):
            await office.intake()([a_letter(b"junk")])

        assert len(await office.dead_letters()) == 1


class TestInAWorker:
    """From the queue to the store."""

    async def test_letters_and_our_own_are_worked_off_side_by_side(self, office: Office) -> None:
        office.queue.put("email", LOGIN, b"junk", LOGIN, TEMPLATE)
        [ours] = await office.pending()

        async with office.relaying(), office.working():
            await office.become([ours], Status.SENT)
            await until(lambda: not office.queue.waiting + office.queue.handed_out)

        assert {one.status for one in await the_ones(office)} == {Status.SENT}
        assert len(await the_ones(office)) == 3
        assert len(await office.dead_letters()) == 2

    async def test_an_outage_of_the_store_is_waited_for(self, office: Office) -> None:
        office.outage.is_on = True
        office.queue.put("email", LOGIN, b"junk")
        async with office.working():
            await asyncio.sleep(0.2)
            assert len(office.queue.handed_out) == 2

            office.outage.is_on = False

            await until(lambda: not office.queue.handed_out)

        assert len(await the_ones(office)) == 1
        assert len(await office.dead_letters()) == 1
        assert {each.times for each in office.queue.waiting} <= {1}

    async def test_what_cannot_be_parked_now_is_not_dropped(self, office: Office) -> None:
        office.outage.is_on = True
        with pytest.raises(StoreUnavailableError):
            await office.intake()([a_letter(b"junk")])
        office.outage.is_on = False

        await office.intake()([a_letter(b"junk")])

        assert len(await office.dead_letters()) == 1

    async def test_what_cannot_be_accepted_now_is_not_parked_and_its_neighbours_are(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_: list[str]) -> list[Allowance]:
            raise LimiterUnavailableError

        monkeypatch.setattr(office.accept._limiter, "allow_many", away)

        with pytest.raises(LimiterUnavailableError):
            await office.intake()([a_letter(), a_letter(b"junk", name="another")])

        [letter] = await office.dead_letters()
        assert letter.payload["body"] == "junk"

    async def test_while_the_store_is_away_no_more_are_taken_in_hand_than_there_are_slots(
        self, office: Office
    ) -> None:
        office.outage.is_on, office.concurrency = True, 4
        office.queue.put("email", *[LOGIN] * 50)
        async with office.working():
            await asyncio.sleep(0.2)

            assert len(office.queue.handed_out) == 4

            office.outage.is_on = False
            await until(lambda: not office.queue.waiting + office.queue.handed_out)

        assert len(await the_ones(office)) == 50

    async def test_what_a_lost_worker_had_comes_again_and_is_taken_in_once(self, office: Office) -> None:
        office.queue.put("email", LOGIN, b"junk")
        for _ in range(3):
            broker = RemoteBroker(office.queue)
            async with broker.consuming(frozenset({"email"})):
                parcel = await broker.receive("email", limit=10, more=False)
                await office.intake()(parcel.letters)  # and then it is killed

        assert {each.times for each in office.queue.waiting if each.letter} == {3}
        assert len(await the_ones(office)) == 1
        assert len(await office.dead_letters()) == 1
