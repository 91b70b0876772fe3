"""Nothing that may be a body, an address or a secret gets into the log."""

import contextlib
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Never
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from notification_service.domain.errors import TransientDeliveryError
from notification_service.observability import logging
from notification_service.observability.privacy import PRIVATE

CANARY = "canary7f3"

NAMED = (
    "body", "to", "phone_number", "device_token", "url", "password", "token", "secret", "authorization",
    "subject", "title", "text", "html", "metadata",
)  # fmt: skip

private_keys = st.one_of(
    st.sampled_from(sorted(PRIVATE)),
    st.sampled_from(
        ["Authorization", "SET-COOKIE", "smtp_password", "access_token", "callback-url", "webhook_secret"]
    ),
)
public_keys = st.sampled_from(["attempt", "provider", "reason", "details", "items", "0"])


@dataclass
class Letter:
    """An object whose own text holds everything."""

    words: str


secrets_of_any_form = st.one_of(
    st.just(CANARY),
    st.just([CANARY]),
    st.just({"deep": {"deeper": CANARY}}),
    st.just(CANARY.encode()),
)
objects = st.sampled_from(
    [Letter(CANARY), ValueError(CANARY), CANARY.encode(), [Letter(CANARY)], bytearray(CANARY.encode())]
)
harmless = st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=5))
values = st.recursive(
    st.one_of(harmless, objects),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(public_keys, inner, max_size=3),
        st.dictionaries(private_keys, secrets_of_any_form, max_size=2),
    ),
    max_leaves=8,
)


def logged(_event: str = "delivered", _form: logging.Format = "json", **facts: Any) -> str:
    """Return what is printed for an event."""
    logging.configure("debug", format=_form, service_name="notes", process="worker")
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        structlog.get_logger().info(_event, **facts)
    return printed.getvalue()


@given(facts=st.dictionaries(public_keys, values, max_size=3), private=st.dictionaries(private_keys, values))
def test_what_is_private_by_name_or_in_an_object_is_never_printed(
    facts: dict[str, Any], private: dict[str, Any]
) -> None:
    hidden = {key: [value, CANARY] for key, value in private.items()}

    printed = logged("delivered", "json", **facts, **hidden)

    assert CANARY not in printed
    assert len(printed.splitlines()) == 1
    assert set(json.loads(printed)) >= facts.keys()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("key", NAMED)
def test_each_private_name_is_dropped_in_every_form(key: str, form: logging.Format) -> None:
    printed = logged(_form=form, **{key: CANARY}, details={key.upper(): [CANARY]})

    assert CANARY not in printed
    assert "details" in printed


def test_what_is_private_in_the_context_is_dropped_too() -> None:
    with structlog.contextvars.bound_contextvars(token=CANARY, request_id="r-1"):
        printed = logged()

    assert CANARY not in printed
    assert "r-1" in printed


def test_facts_are_printed_as_operators_read_them() -> None:
    class Channel(StrEnum):
        EMAIL = "email"

    told = json.loads(
        logged(
            notification_id=UUID(int=7),
            channel=Channel.EMAIL,
            due_at=datetime(2026, 1, 2, tzinfo=UTC),
            delay=timedelta(seconds=1.5),
            file=Path("a/b"),
            channels=("email", "sms"),
            counts={"claimed": 2},
            none=None,
        )
    )

    assert told["notification_id"] == "00000000-0000-0000-0000-000000000007"
    assert (told["channel"], told["due_at"], told["delay"]) == ("email", "2026-01-02T00:00:00+00:00", 1.5)
    assert (told["file"], told["channels"], told["counts"]) == ("a/b", ["email", "sms"], {"claimed": 2})
    assert told["none"] is None


def fail(error: Exception) -> Never:
    body = f"the body of the letter with {CANARY}"
    assert body
    raise error


def exception_of(error: Exception) -> str:
    try:
        fail(error)
    except Exception as caught:
        told: str = json.loads(logged("queue_failed", exc_info=caught))["exception"]
    return told


def test_an_exception_is_told_by_its_type_and_place_without_values() -> None:
    statement = IntegrityError("INSERT …", {"body": CANARY}, Exception(CANARY))

    told = exception_of(statement)

    assert "sqlalchemy.exc.IntegrityError" in told
    assert "test_privacy.py:" in told
    assert "in fail" in told
    assert CANARY not in told


def test_our_own_exceptions_and_the_systems_keep_their_message() -> None:
    ours = TransientDeliveryError("503 of the relay", provider="smtp", error_code="smtp_503")

    assert "TransientDeliveryError: 503 of the relay" in exception_of(ours)
    assert "ConnectionRefusedError: Connection refused" in exception_of(
        ConnectionRefusedError(111, "Connection refused", CANARY)
    )


def test_causes_and_groups_are_told_without_values() -> None:
    group = ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)])
    group.__cause__ = TimeoutError(CANARY)

    told = exception_of(group)

    assert [
        kind for kind in ("TimeoutError", "ExceptionGroup", "ValueError", "KeyError") if kind not in told
    ] == []
    assert CANARY not in told


def test_an_endless_chain_of_causes_is_cut() -> None:
    first = error = ValueError()
    for _ in range(5000):
        error.__cause__ = ValueError()
        error = error.__cause__
    error.__cause__ = first

    assert exception_of(first).count("ValueError") <= 20


def test_exc_info_true_means_the_exception_at_hand() -> None:
    try:
        fail(ZeroDivisionError(CANARY))
    except ZeroDivisionError:
        printed = logged(exc_info=True)

    assert "ZeroDivisionError" in json.loads(printed)["exception"]
    assert CANARY not in printed


def test_without_an_exception_at_hand_there_is_nothing_to_tell() -> None:
    assert "exception" not in json.loads(logged(exc_info=True))
