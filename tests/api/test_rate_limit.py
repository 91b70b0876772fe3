"""The limit for each receiver (5 an hour in these tests) and how it is told."""

from typing import Any

import httpx
import pytest

from notification_service.domain.errors import LimiterUnavailableError
from tests.api.rig import Api, email

LIMIT = 5


async def test_each_answer_tells_the_standing(caller: httpx.AsyncClient, user: str) -> None:
    answers = [await caller.post("/v1/notifications", json=email(user)) for _ in range(LIMIT)]

    assert [answer.headers["ratelimit-limit"] for answer in answers] == [str(LIMIT)] * LIMIT
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["4", "3", "2", "1", "0"]
    assert all(0 < int(answer.headers["ratelimit-reset"]) <= 3600 for answer in answers)


async def test_over_the_limit_is_429_and_says_when_to_come_back(caller: httpx.AsyncClient, user: str) -> None:
    for _ in range(LIMIT):
        await caller.post("/v1/notifications", json=email(user))

    refused = await caller.post("/v1/notifications", json=email(user))

    assert refused.status_code == 429
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["ratelimit-remaining"] == "0"
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert (await caller.get("/notifications")).json()["total"] == LIMIT


async def test_the_receiver_counts_whoever_sends(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str
) -> None:
    for _ in range(LIMIT):
        await admin.post("/v1/notifications", json=email(user))

    assert (await caller.post("/v1/notifications", json=email(user))).status_code == 429
    assert (await admin.post("/v1/notifications", json=email(user))).status_code == 429


async def test_both_profiles_share_the_limit(caller: httpx.AsyncClient, user: str) -> None:
    flat: dict[str, Any] = {"channel": "sms", "recipient": "+4915112345678", "body": "hello"}
    native = [await caller.post("/v1/notifications", json=email(user)) for _ in range(LIMIT - 1)]
    last = await caller.post("/notifications", json=flat)

    refused = await caller.post("/notifications", json=flat)

    assert {each.status_code for each in native} == {202}
    assert (last.status_code, last.headers["ratelimit-remaining"]) == (201, "0")
    assert refused.status_code == 429


async def test_what_is_refused_for_another_reason_is_not_counted(
    caller: httpx.AsyncClient, user: str
) -> None:
    for _ in range(10):
        await caller.post("/v1/notifications", json=email(user, body=""))

    accepted = await caller.post("/v1/notifications", json=email(user))

    assert accepted.headers["ratelimit-remaining"] == str(LIMIT - 1)


async def test_without_the_limiter_nothing_is_accepted(
    api: Api, caller: httpx.AsyncClient, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def out_of_reach(_: object) -> None:
        raise LimiterUnavailableError

    monkeypatch.setattr(api.service.limiter, "allow_many", out_of_reach)

    response = await caller.post("/v1/notifications", json=email(user))

    assert response.status_code == 503
    assert response.json()["code"] == "rate_limiter_unavailable"
    assert int(response.headers["retry-after"]) >= 1
