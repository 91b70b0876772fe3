"""What a consumer has in hand, and up to where it is finished: without a server."""

import asyncio
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from notification_service.adapters.brokers.kafka_inbox import (
    MOST_OPEN,
    MOST_UNFINISHED,
    Inbox,
    KafkaParcel,
    Ledger,
)
from notification_service.domain.channels import ChannelType
from notification_service.domain.events import write_event
from tests.stores.making import a_notification

PLACE = TopicPartition("topic", 0)


def an_inbox(channels: frozenset[ChannelType] = frozenset({"email", "sms"})) -> Inbox:
    inbox = Inbox(lambda topic: None)
    inbox.open(channels)
    return inbox


def a_record(offset: int, value: bytes | None = None, **facts: Any) -> ConsumerRecord[bytes, bytes]:
    given = {
        "topic": PLACE.topic,
        "partition": PLACE.partition,
        "offset": offset,
        "timestamp": 1_700_000_000_000,
        "timestamp_type": 0,
        "key": None,
        "value": write_event(a_notification()) if value is None else value,
        "checksum": None,
        "serialized_key_size": 0,
        "serialized_value_size": 0,
        "headers": (),
    }
    return ConsumerRecord(**{**given, **facts})


def a_ledger(*offsets: int) -> Ledger:
    ledger = Ledger()
    for offset in offsets:
        ledger.received(offset)
        ledger.handed_out(offset)
    return ledger


async def take(inbox: Inbox, channel: ChannelType = "email", *, limit: int = 100) -> KafkaParcel:
    async with asyncio.timeout(1):
        return await inbox.take(channel, limit=limit)


def test_an_empty_ledger_has_nothing_to_commit() -> None:
    assert Ledger().finished_up_to() is None


def test_everything_before_the_oldest_unfinished_offset_is_finished() -> None:
    ledger = a_ledger(5, 6, 7, 8)

    for offset, finished in ((7, 5), (5, 6), (6, 8), (8, 9)):
        ledger.finish(offset)
        assert ledger.finished_up_to() == finished


def test_offsets_may_have_gaps() -> None:
    """Where other programs' transactions ended, or messages were compacted away."""
    ledger = a_ledger(5, 9, 20)

    ledger.finish(5)
    assert ledger.finished_up_to() == 9
    ledger.finish(20)
    ledger.finish(9)
    assert ledger.finished_up_to() == 21


def test_finishing_twice_or_what_was_never_handed_out_changes_nothing() -> None:
    ledger = a_ledger(0, 1)
    ledger.received(2)

    for offset in (0, 0, 2, 17):
        ledger.finish(offset)

    assert ledger.finished_up_to() == 1
    assert ledger.has_some_in_hand


def test_a_partition_is_full_of_what_is_unfinished_and_of_what_waits_behind_it() -> None:
    assert a_ledger(*range(MOST_UNFINISHED)).is_full
    assert not a_ledger(*range(MOST_UNFINISHED - 1)).is_full

    ledger = a_ledger(*range(MOST_OPEN))
    for offset in range(1, MOST_OPEN):
        ledger.finish(offset)
    assert ledger.is_full
    ledger.finish(0)
    ledger.finished_up_to()
    assert not ledger.is_full


async def test_a_partition_that_begins_anew_gets_a_new_ledger() -> None:
    """What was in hand of the old one must not count in the new one."""
    inbox = an_inbox()
    inbox.put(PLACE, [a_record(offset) for offset in range(7)])
    old = await take(inbox, limit=3)

    inbox.put(PLACE, [a_record(0), a_record(1)])
    inbox.settle(old)

    assert inbox.ledgers[PLACE].finished_up_to() == 0
    assert len((await take(inbox)).ids or ()) == 2  # of the old four, which are gone, none


async def test_settling_after_everything_was_let_go_has_no_effect() -> None:
    inbox = an_inbox()
    inbox.put(PLACE, [a_record(0)])
    parcel = await take(inbox)
    inbox.clear()
    inbox.settle(parcel)
    assert not inbox.ledgers  # nothing that could be committed

    inbox.put(PLACE, [a_record(0)])
    inbox.settle(parcel)

    assert inbox.ledgers[PLACE].finished_up_to() == 0


async def test_what_is_withdrawn_is_not_handed_out() -> None:
    inbox = an_inbox()
    inbox.put(PLACE, [a_record(0)])

    inbox.withdraw()

    with pytest.raises(TimeoutError):
        await take(inbox)


@pytest.mark.parametrize("priority", [b"", b"urgent", b"\xff", b"9" * 5000, b"-1"])
async def test_a_strange_priority_stops_nothing(priority: bytes) -> None:
    inbox = an_inbox()

    inbox.put(PLACE, [a_record(0, headers=(("priority", priority), ("other", None)))])

    assert (await take(inbox)).ids


@pytest.mark.parametrize(
    ("body", "channel"),
    [
        (b'{"channel": "sms"}', "sms"),
        (b'{"channel": "push"}', "email"),
        (b'{"channel": ["sms"]}', "email"),
        (b"\xff", "email"),
        (b"", "email"),
    ],
)
async def test_a_letter_goes_to_the_channel_it_names_or_else_to_the_first(
    body: bytes, channel: ChannelType
) -> None:
    inbox = an_inbox()

    inbox.put(PLACE, [a_record(0, body)])

    (letter,) = (await take(inbox, channel)).letters
    assert letter.body == body


async def test_a_letter_in_a_topic_of_one_channel_is_of_that_channel() -> None:
    inbox = Inbox(lambda topic: "sms")
    inbox.open({"email", "sms"})

    inbox.put(PLACE, [a_record(0, b'{"channel": "email"}')])

    assert (await take(inbox, "sms")).letters


async def test_letters_at_the_same_place_of_a_topic_made_again_have_other_names() -> None:
    inbox = an_inbox()
    again = [a_record(0, b"a"), a_record(0, b"b"), a_record(0, b"a", timestamp=1_700_000_000_001)]

    names = []
    for record in [*again, a_record(0, b"a")]:
        inbox.clear()
        inbox.put(PLACE, [record])
        names.append((await take(inbox)).letters[0].name)

    assert len(set(names[:3])) == 3
    assert names[3] == names[0]
    assert all(len(name) <= 255 for name in names)


async def test_a_cancelled_take_hands_out_nothing() -> None:
    """At whatever turn of the loop it is cancelled, before or after something came."""
    for turns in range(5):
        for arrival in range(turns + 1):
            inbox = an_inbox()
            taking = asyncio.create_task(inbox.take("email", limit=1))
            for turn in range(turns):
                if turn == arrival:
                    inbox.put(PLACE, [a_record(0)])
                await asyncio.sleep(0)
            if arrival == turns:
                inbox.put(PLACE, [a_record(0)])
            taking.cancel()
            (outcome,) = await asyncio.gather(taking, return_exceptions=True)

            assert isinstance(outcome, KafkaParcel) or (await take(inbox)).ids
