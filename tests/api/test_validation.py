"""What is refused with 422, how it is named, and that nothing of it is repeated."""

import json
from typing import Any

import httpx
import pytest

from tests.api.rig import email, problems

SECRET = "Zq7SecretInput"


def _channel(**fields: Any) -> dict[str, Any]:
    return {"channel": fields}


def _email(**changes: Any) -> dict[str, Any]:
    return _channel(**({"type": "email", "to": "ann@example.com", "subject": "s"} | changes))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"user_id": ""}, "user_id"),
    ({"user_id": "u" * 256}, "user_id"),
    ({"user_id": 7}, "user_id"),
    ({"user_id": "a\x00b"}, "user_id"),
    ({"body": ""}, "body"),
    ({"body": "b" * 4001}, "body"),
    ({"body": None}, "body"),
    ({"body": "a\x00b"}, "body"),
    ({"metadata": None}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"metadata": {SECRET: None}}, "metadata"),
    ({"metadata": {"k" * 65: "v"}}, "metadata"),
    ({"metadata": {"k": "v" * 1025}}, "metadata"),
    ({"metadata": {str(number): "v" for number in range(51)}}, "metadata"),
    ({"metadata": {"a\x00": "v"}}, "metadata"),
    ({"metadata": {"a": "\x00"}}, "metadata"),
    ({"priority": 0}, "priority"),
    ({"priority": 11}, "priority"),
    ({"priority": "5"}, "priority"),
    ({"priority": True}, "priority"),
    ({"priority": 5.5}, "priority"),
    ({"priority": 10**400}, "priority"),
    ({"priority": None}, "priority"),
    ({"category": "c" * 65}, "category"),
    ({"reference": "r" * 256}, "reference"),
    ({"reference": 7}, "reference"),
    ({"channel": None}, "channel"),
    ({"channel": "email"}, "channel"),
    ({"channel": {}}, "channel.type"),
    (_channel(type=SECRET), "channel.type"),
    (_channel(type=[SECRET]), "channel.type"),
    (_channel(type="email", to="ann@example.com"), "channel.subject"),
    (_email(to=SECRET), "channel.to"),
    (_email(to="a@example.com, b@example.com"), "channel.to"),
    (_email(to="Ann <a@example.com>"), "channel.to"),
    (_email(to="a@example.com\nBcc: b@example.com"), "channel.to"),
    (_email(to=f"{'a' * 310}@example.com"), "channel.to"),
    (_email(subject=""), "channel.subject"),
    (_email(subject="s" * 201), "channel.subject"),
    (_email(subject="a\r\nBcc: b@example.com"), "channel.subject"),
    (_email(subject="a\x00"), "channel.subject"),
    (_email(**{SECRET: 1}), "channel"),
    (_channel(type="sms", phone_number="0151 1234567"), "channel.phone_number"),
    (_channel(type="sms", phone_number="+0123456789"), "channel.phone_number"),
    (_channel(type="sms", phone_number="+1234567890123456"), "channel.phone_number"),
    (_channel(type="sms", phone_number="+123456"), "channel.phone_number"),
    (_channel(type="sms", phone_number="+49151١٢٣٤٥٦"), "channel.phone_number"),
    (_channel(type="sms", phone_number="+4915112345678\n"), "channel.phone_number"),
    (_channel(type="push", device_token="t"), "channel.title"),
    (_channel(type="push", device_token="t", title=None), "channel.title"),
    (_channel(type="push", device_token="t", title=""), "channel.title"),
    (_channel(type="push", device_token="t" * 4097, title="t"), "channel.device_token"),
    (_channel(type="push", device_token="a b", title="t"), "channel.device_token"),
    (_channel(type="push", device_token="ä", title="t"), "channel.device_token"),
    (_channel(type="webhook", url="ftp://example.com"), "channel.url"),
    (_channel(type="webhook", url="https://me:pw@example.com"), "channel.url"),
    (_channel(type="webhook", url="/hook"), "channel.url"),
    (_channel(type="webhook", url="https://example.com/\x00"), "channel.url"),
    (_channel(type="webhook", url="https://example.com/" + "x" * 2048), "channel.url"),
    ({SECRET: 1}, ""),
    ({"email": 1}, ""),
]


@pytest.mark.parametrize(
    ("changes", "field"), REFUSED, ids=lambda value: str(value)[:40].encode("ascii", "replace").decode()
)
async def test_a_bad_value_is_named_by_its_path(
    caller: httpx.AsyncClient, user: str, changes: dict[str, Any], field: str
) -> None:
    response = await caller.post("/v1/notifications", json=email(user, **changes))

    assert list(problems(response)) == [field]
    assert SECRET not in response.text


@pytest.mark.parametrize("field", ["user_id", "channel", "body"])
async def test_what_is_required_is_missed(caller: httpx.AsyncClient, user: str, field: str) -> None:
    body = {name: value for name, value in email(user).items() if name != field}

    response = await caller.post("/v1/notifications", json=body)

    assert problems(response) == {field: "is required"}


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
async def test_a_body_that_is_no_object_is_refused_as_a_whole(caller: httpx.AsyncClient, body: Any) -> None:
    json_type = {"Content-Type": "application/json"}

    response = await caller.post("/v1/notifications", content=json.dumps(body), headers=json_type)

    assert problems(response) == {"": "must be an object"}


async def test_every_problem_is_told_at_once(caller: httpx.AsyncClient, user: str) -> None:
    response = await caller.post("/v1/notifications", json={"user_id": user, "body": "", "priority": 0})

    assert set(problems(response)) == {"channel", "body", "priority"}


async def test_a_refusal_says_no_more_than_the_rule(caller: httpx.AsyncClient, user: str) -> None:
    """Neither values nor names the caller made up come back, in whatever field they stood."""
    nasty = {SECRET: {SECRET: [SECRET]}}
    body = dict.fromkeys((*email(user), "metadata", "priority", "scheduled_for", "template", SECRET), nasty)

    response = await caller.post("/v1/notifications", json=body)

    assert response.status_code == 422
    assert SECRET not in response.text
    assert "http" not in json.dumps(response.json()["errors"])


@pytest.mark.parametrize("length", [1, 4000])
async def test_lengths_count_characters_and_not_bytes(
    caller: httpx.AsyncClient, user: str, length: int
) -> None:
    response = await caller.post("/v1/notifications", json=email(user, body="😀" * length))

    assert response.status_code == 202


async def test_the_limits_themselves_are_allowed(caller: httpx.AsyncClient, user: str) -> None:
    metadata = {f"{number:064}": "v" * 1024 for number in range(50)}
    largest = email(user, metadata=metadata, category="c" * 64, reference="r" * 255, body="b" * 4000)
    largest["channel"]["subject"] = "s" * 200

    response = await caller.post("/v1/notifications", json=largest)

    assert response.status_code == 202
    assert response.json()["metadata"] == metadata
