"""Idempotency-Key: the same request twice is one request."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from notification_service.entrypoints.api.idempotency import fingerprint
from notification_service.entrypoints.api.problems import RequestInProgressError, problem_response
from tests.api.rig import email, problems

PATHS = ["/v1/notifications", "/v1/notifications/bulk", "/notifications"]


def _body(path: str, user: str, text: str = "hello") -> dict[str, Any]:
    match path:
        case "/v1/notifications":
            return email(user, body=text)
        case "/v1/notifications/bulk":
            return {"notifications": [email(user, body=text), email(user, body=text)]}
        case _:
            return {"channel": "sms", "recipient": "+4915112345678", "body": text}


def _key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


@pytest.mark.parametrize("path", PATHS)
async def test_a_repeat_gets_the_first_answer_and_stores_nothing(
    caller: httpx.AsyncClient, user: str, path: str
) -> None:
    key = _key()
    first = await caller.post(path, json=_body(path, user), headers=key)
    stored = (await caller.get("/notifications")).json()["total"]

    again = await caller.post(path + "/", json=_body(path, user), headers=key)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert (await caller.get("/notifications")).json()["total"] == stored


@pytest.mark.parametrize("path", PATHS)
async def test_the_same_key_for_another_body_is_refused(
    caller: httpx.AsyncClient, user: str, path: str
) -> None:
    key = _key()
    await caller.post(path, json=_body(path, user), headers=key)

    other = await caller.post(path, json=_body(path, user, "other"), headers=key)

    assert list(problems(other)) == ["Idempotency-Key"]
    assert other.json()["code"] == "idempotency_key_reused"


async def test_the_same_key_at_another_path_is_refused(caller: httpx.AsyncClient, user: str) -> None:
    key = _key()
    await caller.post("/v1/notifications", json=email(user), headers=key)

    other = await caller.post("/v1/notifications/bulk", json={"notifications": [email(user)]}, headers=key)

    assert other.json()["code"] == "idempotency_key_reused"


async def test_keys_of_different_callers_are_different_keys(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str
) -> None:
    key = _key()
    first = await caller.post("/v1/notifications", json=email(user), headers=key)

    second = await admin.post("/v1/notifications", json=email(user), headers=key)

    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]


async def test_repeats_at_the_same_moment_are_one_request(caller: httpx.AsyncClient, user: str) -> None:
    key = _key()

    answers = await asyncio.gather(
        *(caller.post("/v1/notifications", json=email(user), headers=key) for _ in range(10))
    )

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_refusal_may_be_tried_again_with_its_key(caller: httpx.AsyncClient, user: str) -> None:
    key = _key()
    refused = await caller.post("/v1/notifications", json=email(user, body=""), headers=key)

    accepted = await caller.post("/v1/notifications", json=email(user), headers=key)

    assert (refused.status_code, accepted.status_code) == (422, 202)
    assert "idempotency-replayed" not in accepted.headers


async def test_a_replay_does_not_count_against_the_limit(caller: httpx.AsyncClient, user: str) -> None:
    key = _key()
    first = await caller.post("/v1/notifications", json=email(user), headers=key)
    for _ in range(10):
        await caller.post("/v1/notifications", json=email(user), headers=key)

    next_one = await caller.post("/v1/notifications", json=email(user))

    before, after = (int(each.headers["ratelimit-remaining"]) for each in (first, next_one))
    assert before - after == 1


async def test_a_replay_is_answered_though_it_would_be_refused_today(
    caller: httpx.AsyncClient, user: str
) -> None:
    """Its `expires_at` has passed in between: the answer is still the first one."""
    key, body = _key(), email(user, expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    first = await caller.post("/v1/notifications", json=body, headers=key)
    await asyncio.sleep(1.1)

    again = await caller.post("/v1/notifications", json=body, headers=key)
    without_key = await caller.post("/v1/notifications", json=body)

    assert (first.status_code, again.status_code, without_key.status_code) == (202, 202, 422)
    assert again.content == first.content


@pytest.mark.parametrize("key", ["", "a b", "ü", "k" * 256, "a\tb"])
async def test_a_key_that_is_no_key_is_refused(caller: httpx.AsyncClient, user: str, key: str) -> None:
    bad = {"Idempotency-Key": key.encode()}

    response = await caller.post("/v1/notifications", json=email(user), headers=bad)

    assert list(problems(response)) == ["Idempotency-Key"]


async def test_two_keys_are_refused(caller: httpx.AsyncClient, user: str) -> None:
    two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    response = await caller.post("/v1/notifications", json=email(user), headers=two)

    assert list(problems(response)) == ["Idempotency-Key"]


async def test_the_longest_key_is_taken(caller: httpx.AsyncClient, user: str) -> None:
    longest = {"Idempotency-Key": (uuid4().hex * 8)[:255]}

    response = await caller.post("/v1/notifications", json=email(user), headers=longest)

    assert response.status_code == 202


def test_a_request_that_is_still_running_is_409_with_a_time_to_wait() -> None:
    response = problem_response(RequestInProgressError(), "r")

    assert response.status_code == 409
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ('{"a": 1}', '{"a": 1.0}', True),
        ('{"a": 100}', '{"a": 1e2}', True),
        ('{"a": "\\u00e4"}', '{"a": "ä"}', True),
        ('{"a": [1, {"b": 2.0}]}', '{"a": [1.0, {"b": 2}]}', True),
        ('{"a": 0}', '{"a": -0.0}', True),
        ('{"a": null}', "{}", False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 0}', '{"a": false}', False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": 1.5}', '{"a": 1}', False),
        ('{"a": "x"}', '{"a": "X"}', False),
    ],
)
def test_bodies_are_compared_by_their_meaning(one: str, other: str, is_same: bool) -> None:
    prints = [fingerprint("POST", "/x", json.loads(text)) for text in (one, other)]

    assert (prints[0] == prints[1]) is is_same


def test_method_and_path_belong_to_the_request() -> None:
    prints = {fingerprint(method, path, {}) for method in ("POST", "PUT") for path in ("/x", "/y")}

    assert len(prints) == 4
