"""What travels through a broker, and everything that may come instead."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.events import (
    Event,
    Letter,
    UnreadableEventError,
    buried,
    read_event,
    read_object,
    write_event,
)
from notification_service.domain.notification import NotificationId, Reason
from tests.stores.making import CHANNELS, a_notification

GOOD = {
    "version": 1,
    "event_type": "notification.queued",
    "notification_id": "019a0000-0000-7000-8000-000000000001",
    "user_id": "ann",
    "channel": "email",
    "body": "Hello",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def changed(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def test_an_event_holds_what_the_contract_says_and_nothing_else() -> None:
    one = a_notification(user_id="zoë", body='a "body" 🦊\n')

    event = json.loads(write_event(one))

    assert event == {
        "version": 1,
        "event_type": "notification.queued",
        "notification_id": str(one.id),
        "user_id": "zoë",
        "channel": "email",
        "body": 'a "body" 🦊\n',
    }


@given(
    channel=st.sampled_from(sorted(CHANNELS)),
    user_id=st.text(min_size=1, max_size=255),
    body=st.text(min_size=1),
    identity=st.uuids(),
)
def test_what_was_written_is_read(channel: Any, user_id: str, body: str, identity: UUID) -> None:
    one = a_notification(channel_type=channel, id=NotificationId(identity), user_id=user_id, body=body)

    assert read_event(write_event(one)) == Event(notification_id=one.id, channel=channel)


@pytest.mark.parametrize("channel", CHANNEL_TYPES)
def test_every_channel_and_fields_that_came_later_are_read(channel: str) -> None:
    event = read_event(changed(channel=channel, added_later={"x": [1]}))

    assert event.channel == channel


@pytest.mark.parametrize("name", ["version", "event_type", "notification_id", "channel"])
@pytest.mark.parametrize("value", [None, "", "x", 0, 2, -1, 1.5, [], {}, ["email"], {"a": 1}, False])
def test_an_event_with_something_else_in_a_needed_field_is_unreadable(name: str, value: Any) -> None:
    with pytest.raises(UnreadableEventError) as caught:
        read_event(changed(**{name: value}))

    assert str(caught.value)


@pytest.mark.parametrize("name", ["version", "event_type", "notification_id", "channel"])
def test_an_event_without_a_needed_field_is_unreadable(name: str) -> None:
    with pytest.raises(UnreadableEventError):
        read_event(without(name))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\0",
        b"\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"[{}]",
        b"{",
        b"{}}",
        b"{'a': 1}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"version": ' + b"9" * 5_000 + b"}",
        b"x" * 1_000_000,
    ],
    ids=range(18),
)
def test_what_is_no_json_object_is_unreadable(body: bytes) -> None:
    for read in (read_event, read_object):
        with pytest.raises(UnreadableEventError):
            read(body)


@given(st.binary())
def test_any_bytes_are_an_event_or_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableEventError):
        read_event(body)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON))
def test_any_object_is_an_event_or_unreadable(changes: dict[str, Any]) -> None:
    try:
        event = read_event(json.dumps(GOOD | changes).encode(errors="replace"))
    except UnreadableEventError:
        return
    assert event.channel in CHANNEL_TYPES
    assert isinstance(event.notification_id, UUID)


def test_what_is_unreadable_is_never_quoted() -> None:
    """The reason is stored, logged and shown; the message may hold anything."""
    for body in (b"geheim", b'["geheim"]', changed(channel="geheim"), changed(notification_id="geheim")):
        with pytest.raises(UnreadableEventError) as caught:
            read_event(body)
        assert "geheim" not in str(caught.value)


def test_the_dead_are_shown_as_the_event_they_were() -> None:
    one = a_notification(user_id="zoë")

    dead = buried(one, Reason.RETRIES_EXHAUSTED)

    assert (dead.body, dead.key, dead.reason) == (write_event(one), "zoë".encode(), "retries_exhausted")
    assert (dead.correlation_id, dead.traceparent) == (one.trail.correlation_id, one.trail.traceparent)


@given(st.text(), st.text())
def test_letters_are_the_same_by_name_and_only_by_name(one: str, other: str) -> None:
    first, second = (Letter(name=name, source="queue", body=b"") for name in (one, other))

    assert (first.identity == second.identity) == (one == other)
    assert first.identity.isascii()
    assert len(first.identity) == 64


def test_a_name_that_is_no_text_has_an_identity_too() -> None:
    assert Letter(name="\ud800", source="queue", body=b"").identity
