"""`NotificationStore`: storing notifications together with their idempotency keys."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.notification import Reason, Status, Trail
from tests.stores.house import AN_HOUR, House
from tests.stores.making import a_key, a_notification

FULL: dict[str, Any] = {
    "user_id": "zoë 🦊",
    "channel": {"type": "email", "to": "zoë@example.com", "subject": 'quotes " and \\ and 漢字'},
    "body": "line one\nline two\t{}[]'\"\\ 🦊",
    "metadata": {"deep": {"list": [1, 2.5, None, True, "x"]}, "ключ": "значение", "": ""},
    "status": Status.PENDING,
    "status_reason": Reason.SCHEDULED,
    "priority": 9,
    "category": "orders",
    "reference": "order-7",
    "scheduled_for": datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
    "expires_at": datetime(2031, 6, 6, 7, 8, 9, 1, tzinfo=UTC),
    "due_at": datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
    "trail": Trail(request_id="r", correlation_id="c", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"),
}


def acceptance(key: IdempotencyKey | None = None, *, body: bytes = b"{}", **changes: Any) -> Acceptance:
    one = a_notification(**changes)
    if key is None:
        return Acceptance(notifications=(one,))
    answer = StoredAnswer(fingerprint=key.fingerprint, status_code=202, body=body)
    return Acceptance(notifications=(one,), key=key, answer=answer)


class AcceptingConformance:
    """`add_many` and `find_answers`."""

    async def test_what_was_stored_is_read_back_unchanged(self, house: House) -> None:
        one = a_notification(**FULL)

        await house.add(one)

        assert await house.archive.get(one.id) == one

    async def test_all_acceptances_of_a_call_are_stored(self, house: House) -> None:
        acceptances = [
            Acceptance(notifications=tuple(a_notification() for _ in range(3))) for _ in range(100)
        ]

        results = await house.store.add_many(acceptances, keep_answers=AN_HOUR)

        assert list(results) == [None] * 100
        assert await house.count() == 300

    async def test_nothing_to_store_stores_nothing(self, house: House) -> None:
        results = await house.store.add_many([], keep_answers=AN_HOUR)

        assert list(results) == []
        assert list(await house.store.find_answers([])) == []

    async def test_the_answer_kept_under_a_key_is_found_byte_for_byte(self, house: House) -> None:
        key = a_key()
        body = b'\x00\xff{"id": 1}\n'

        await house.add_with_key(key, body=body)

        expected = StoredAnswer(fingerprint=b"same", status_code=202, body=body)
        assert list(await house.store.find_answers([a_key("other"), key])) == [None, expected]

    async def test_answers_come_in_the_order_of_the_keys(self, house: House) -> None:
        """Also when a key is asked for twice."""
        for name in ("c", "a", "b"):
            await house.add_with_key(a_key(name), body=name.encode())

        found = await house.store.find_answers([a_key(name) for name in ("b", "x", "c", "b", "a")])

        assert [answer.body if answer else None for answer in found] == [b"b", None, b"c", b"b", b"a"]

    async def test_a_taken_key_returns_its_answer_and_stores_nothing(self, house: House) -> None:
        await house.add_with_key(a_key(), body=b"first")
        repeat = acceptance(a_key(), body=b"second")

        [answer] = await house.store.add_many([repeat], keep_answers=AN_HOUR)

        assert answer is not None
        assert answer.body == b"first"
        assert await house.count() == 1

    async def test_a_taken_key_tells_the_first_requests_fingerprint(self, house: House) -> None:
        """From it the caller learns that the key was used for something else."""
        await house.add_with_key(a_key(fingerprint=b"first"))

        answer = await house.add_with_key(a_key(fingerprint=b"another"))

        assert answer is not None
        assert answer.fingerprint == b"first"

    async def test_the_same_key_twice_in_one_call_behaves_like_one_after_the_other(
        self, house: House
    ) -> None:
        calls = [acceptance(a_key(), body=body) for body in (b"first", b"second", b"third")]

        results = await house.store.add_many(calls, keep_answers=AN_HOUR)

        assert [answer.body if answer else None for answer in results] == [None, b"first", b"first"]
        assert await house.count() == 1

    async def test_neighbours_of_a_taken_key_are_stored(self, house: House) -> None:
        await house.add_with_key(a_key("taken"))
        calls = [acceptance(), acceptance(a_key("taken")), acceptance(a_key("new"))]

        results = await house.store.add_many(calls, keep_answers=AN_HOUR)

        assert [answer is None for answer in results] == [True, False, True]
        assert await house.count() == 3

    async def test_different_callers_may_use_the_same_key(self, house: House) -> None:
        callers = ["ann", "bob", "ann ", "ann bob", ""]

        results = [await house.add_with_key(a_key(caller=caller)) for caller in callers]

        assert results == [None] * len(callers)

    async def test_callers_and_keys_do_not_run_into_each_other(self, house: House) -> None:
        """In one call, where they are told apart by what the statement returns."""
        names = [("a", "b"), ("a b", "b"), ("a", "b b"), ("ab", ""), ("", "ab"), ("a|b", "c"), ("a", "b|c")]
        calls = [acceptance(a_key(key, caller=caller)) for caller, key in names if " " not in key]

        results = await house.store.add_many(calls, keep_answers=AN_HOUR)

        assert list(results) == [None] * len(calls)

    async def test_a_key_past_its_time_counts_as_absent(self, house: House) -> None:
        await house.add_with_key(a_key(), body=b"old")
        await house.let_keys_expire()
        found = await house.store.find_answers([a_key()])

        result = await house.add_with_key(a_key(fingerprint=b"new"), body=b"new")

        [kept] = await house.store.find_answers([a_key()])
        assert found == [None]
        assert result is None
        assert kept == StoredAnswer(fingerprint=b"new", status_code=202, body=b"new")

    async def test_a_key_is_kept_for_as_long_as_told(self, house: House) -> None:
        await house.store.add_many([acceptance(a_key("short"))], keep_answers=timedelta(milliseconds=30))
        await house.store.add_many([acceptance(a_key("long"))], keep_answers=AN_HOUR)
        await asyncio.sleep(0.05)

        found = await house.store.find_answers([a_key("short"), a_key("long")])

        assert [answer is None for answer in found] == [True, False]

    async def test_a_key_past_its_time_is_taken_over_by_exactly_one(self, house: House) -> None:
        other = await house.another()
        await house.add_with_key(a_key(), body=b"old")
        await house.let_keys_expire()

        results = await asyncio.gather(
            *(each.add_with_key(a_key(), body=b"new") for each in (house, other) * 5)
        )

        assert results.count(None) == 1
        assert {answer.body for answer in results if answer} == {b"new"}
        assert await house.count() == 2

    async def test_a_hundred_equal_requests_at_once_store_one(self, house: House) -> None:
        """From two processes; all hear the same answer, the first one's."""
        other = await house.another()
        bodies = [str(number).encode() for number in range(100)]

        results = await asyncio.gather(
            *(
                (house, other)[number % 2].add_with_key(a_key(), body=body)
                for number, body in enumerate(bodies)
            )
        )

        winner = bodies[results.index(None)]
        assert results.count(None) == 1
        assert {answer.body for answer in results if answer} == {winner}
        assert await house.count() == 1

    async def test_overlapping_batches_of_keys_in_any_order_do_not_block_each_other(
        self, house: House
    ) -> None:
        """Two batches that each hold what the other waits for would be a deadlock."""
        other = await house.another()
        names = [f"key-{number}" for number in range(40)]
        batches = [names, names[::-1], names[20:] + names[:20], names[::2] + names[1::2]] * 3

        async with asyncio.timeout(10):
            results = await asyncio.gather(
                *(
                    (house, other)[number % 2].store.add_many(
                        [acceptance(a_key(name)) for name in batch], keep_answers=AN_HOUR
                    )
                    for number, batch in enumerate(batches)
                )
            )

        assert sum(answer is None for result in results for answer in result) == len(names)
        assert await house.count() == len(names)

    async def test_a_failed_call_leaves_nothing_behind(self, house: House) -> None:
        """Neither rows nor keys: an id that exists already spoils the whole call."""
        [there] = await house.add()
        spoiled = Acceptance(notifications=(replace(there, body="another"),))

        with pytest.raises(Exception):  # noqa: B017, PT011 - the driver's own, not an outage
            await house.store.add_many([acceptance(a_key()), spoiled, acceptance()], keep_answers=AN_HOUR)

        assert await house.count() == 1
        assert await house.keys() == 0
        assert (await house.get(there.id)).body == there.body

    async def test_a_cancelled_call_is_whole_or_nothing_and_harms_no_later_one(self, house: House) -> None:
        """The caller's patience ends at any moment."""
        await house.add_one()
        for patience in (0, 0.0005, 0.001, 0.002, 0.004):
            before = await house.count()
            many = Acceptance(notifications=tuple(a_notification() for _ in range(50)))

            call = asyncio.create_task(house.store.add_many([many], keep_answers=AN_HOUR))
            await asyncio.sleep(patience)
            call.cancel()
            await asyncio.wait([call])

            await house.add_one()
            assert await house.count() - before in {1, 51}

    async def test_the_time_told_is_the_databases_and_never_ahead_of_it(self, house: House) -> None:
        told = [house.store.now() for _ in range(3)]

        await house.store.check()

        assert told == sorted(told)
        assert timedelta(seconds=-1) < datetime.now(UTC) - house.store.now() < timedelta(seconds=5)
        [added] = await house.add(a_notification(due_at=house.store.now()))
        assert [claim.notification.id for claim in await house.claim()] == [added.id]

    async def test_a_check_tells_product_and_version_in_one_line(self, house: House) -> None:
        line = await house.store.check()

        product, version = line.split()[:2]
        assert product in {"SQLite", "PostgreSQL"}
        assert version[0].isdigit()


class AnsweringLaterConformance:
    """`add_many` with a hold, and `correct_answers`."""

    async def test_what_is_held_is_taken_by_no_relay_until_the_hold_ends(self, house: House) -> None:
        one = acceptance(status=Status.PENDING)
        hold = timedelta(milliseconds=150)
        await house.store.add_many([one], keep_answers=AN_HOUR, hold=hold)
        assert list(await house.outbox.take(limit=10, hold=AN_HOUR)) == []

        await asyncio.sleep(0.25)

        assert list(await house.outbox.take(limit=10, hold=AN_HOUR)) == list(one.notifications)

    async def test_without_a_hold_a_relay_takes_it_at_once(self, house: House) -> None:
        one = acceptance(status=Status.PENDING)
        await house.store.add_many([one], keep_answers=AN_HOUR)

        assert list(await house.outbox.take(limit=10, hold=AN_HOUR)) == list(one.notifications)

    async def test_only_what_is_pending_and_due_is_held(self, house: House) -> None:
        later = house.store.now() + AN_HOUR
        scheduled = acceptance(status=Status.PENDING, due_at=later)
        queued = acceptance(status=Status.QUEUED)
        await house.store.add_many([scheduled, queued], keep_answers=AN_HOUR, hold=AN_HOUR)

        rows = [await house.row(one.id) for each in (scheduled, queued) for one in each.notifications]

        assert [row.lease_until for row in rows] == [None, None]

    async def test_a_corrected_answer_is_what_repeats_get(self, house: House) -> None:
        for name in ("a", "b", "c"):
            await house.add_with_key(a_key(name), body=b"first")
        corrected = StoredAnswer(fingerprint=b"same", status_code=202, body=b"\x00corrected")

        await house.store.correct_answers([(a_key("c"), corrected), (a_key("a"), corrected)])

        found = await house.store.find_answers([a_key(name) for name in ("a", "b", "c")])
        assert [each.body if each else None for each in found] == [corrected.body, b"first", corrected.body]
        assert await house.add_with_key(a_key("a")) == corrected

    async def test_what_is_not_kept_or_is_another_requests_is_not_corrected(self, house: House) -> None:
        await house.add_with_key(a_key("theirs", fingerprint=b"theirs"), body=b"theirs")
        mine = StoredAnswer(fingerprint=b"same", status_code=202, body=b"mine")

        await house.store.correct_answers([(a_key("theirs"), mine), (a_key("unknown"), mine)])
        await house.store.correct_answers([])

        found = await house.store.find_answers([a_key("theirs"), a_key("unknown")])
        assert [each.body if each else None for each in found] == [b"theirs", None]
