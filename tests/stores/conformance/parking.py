"""`DeadLetterStore.park`: messages that no notification belongs to."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from notification_service.domain.events import LARGEST_PARKED_BYTES, Letter, ParkedLetter
from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import DeadLetter, Reason, Status
from tests.stores.house import House

UNREADABLE = DeadLetterFilter(reason=Reason.UNREADABLE)


def parked(name: str = "email.queue/1", *, body: bytes = b"not JSON", **changes: Any) -> ParkedLetter:
    letter = Letter(name=name, source="email.queue", body=body, **changes)
    return ParkedLetter(letter=letter, reason=Reason.UNREADABLE, detail="the message is not JSON")


async def kept(house: House) -> Sequence[DeadLetter]:
    return (await house.dead_letters.find(UNREADABLE, limit=100)).rows


class ParkingConformance:
    """The sentences of `park`."""

    async def test_a_parked_message_is_a_dead_letter_of_no_notification(self, house: House) -> None:
        await house.dead_letters.park([parked(correlation_id="correlation-7")])

        [one] = await kept(house)
        assert (one.notification_id, one.user_id, one.channel, one.attempts) == (None, None, None, 0)
        assert (one.reason, one.detail) == (Reason.UNREADABLE, "the message is not JSON")
        assert abs((one.dead_at - house.store.now()).total_seconds()) < 5
        assert one.payload == {
            "source": "email.queue",
            "body": "not JSON",
            "truncated": False,
            "correlation_id": "correlation-7",
        }

    async def test_one_that_is_kept_already_is_left_alone(self, house: House) -> None:
        await house.dead_letters.park([parked("a"), parked("b")])

        await house.dead_letters.park([parked("b", body=b"another"), parked("c")])

        assert len(await kept(house)) == 3
        assert {one.payload["body"] for one in await kept(house)} == {"not JSON"}

    async def test_the_same_twice_in_one_call_is_kept_once(self, house: House) -> None:
        await house.dead_letters.park([parked(), parked()])

        assert len(await kept(house)) == 1

    async def test_nothing_to_park_is_nothing(self, house: House) -> None:
        await house.dead_letters.park([])

        assert list(await kept(house)) == []

    async def test_workers_that_park_the_same_at_once_keep_it_once(self, house: House) -> None:
        other = await house.another()
        letters = [parked(str(number)) for number in range(20)]

        await asyncio.gather(
            *(
                each.dead_letters.park(letters[::order])
                for each, order in ((house, 1), (other, -1), (house, -1), (other, 1))
            )
        )

        assert len(await kept(house)) == 20

    @pytest.mark.parametrize(
        "body",
        [b"", b"\x00\x01", b"\xff\xfe\xed\xa0\x80", "🦊".encode(), b'"\\u0000"', b"x" * 1_000_000],
        ids=["empty", "NUL", "no text", "text", "escaped", "huge"],
    )
    async def test_any_bytes_can_be_parked(self, house: House, body: bytes) -> None:
        await house.dead_letters.park([parked(body=body)])

        [one] = await kept(house)
        assert one.payload["truncated"] == (len(body) > LARGEST_PARKED_BYTES)
        assert len(one.payload["body"]) <= LARGEST_PARKED_BYTES

    @pytest.mark.parametrize("text", ["\0", "\ud800", "x" * 5_000, "", "ä b\n"])
    async def test_whatever_another_producer_wrote_around_it_can_be_parked(
        self, house: House, text: str
    ) -> None:
        """A worker that fell over it would fall over it again."""
        await house.dead_letters.park([parked(text, correlation_id=text), parked(f"{text}2")])
        await house.dead_letters.park([parked(text)])

        assert len(await kept(house)) == 2

    async def test_it_can_be_redriven_by_nobody(self, house: House) -> None:
        await house.dead_letters.park([parked()])
        [one] = await kept(house)

        again = await house.dead_letters.redrive([one.id], by="root", status=Status.PENDING)

        assert list(again) == []
        assert (await kept(house))[0].redriven_at is None
