"""POST /v1/notifications/bulk: each item is judged on its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from notification_service.entrypoints.api.routes import bulk
from tests.api.rig import ahead, email, problems

BULK = "/v1/notifications/bulk"


def _bulk(*items: Any) -> dict[str, Any]:
    return {"notifications": list(items)}


async def test_good_and_bad_items_are_answered_in_their_order(caller: httpx.AsyncClient, user: str) -> None:
    items = [email(user), email(user, body=""), email("somebody-else"), 7, email(user, priority=9)]

    response = await caller.post(BULK, json=_bulk(*items))

    answer = response.json()
    statuses = ["accepted", "rejected", "rejected", "rejected", "accepted"]
    assert response.status_code == 202
    assert [(each["index"], each["status"]) for each in answer["results"]] == list(enumerate(statuses))
    assert (answer["accepted"], answer["rejected"]) == (2, 3)
    assert answer["results"][4]["notification"]["priority"] == 9


async def test_a_rejected_item_carries_a_whole_problem_about_itself(
    caller: httpx.AsyncClient, user: str
) -> None:
    bad = email(user, channel={"type": "email", "to": "nobody", "subject": "s"})

    response = await caller.post(BULK, json=_bulk(email(user), bad))

    error = response.json()["results"][1]["error"]
    assert (error["status"], error["code"]) == (422, "validation_error")
    assert [each["field"] for each in error["errors"]] == ["channel.to"]
    assert error["request_id"] == response.headers["x-request-id"]


async def test_what_was_accepted_is_stored(caller: httpx.AsyncClient, user: str) -> None:
    answer = (await caller.post(BULK, json=_bulk(email(user), email(user)))).json()

    for each in answer["results"]:
        read = await caller.get(f"/v1/notifications/{each['notification']['id']}")
        assert read.json() == each["notification"]


async def test_when_every_item_is_bad_nothing_is_accepted_and_that_is_no_error(
    caller: httpx.AsyncClient, user: str
) -> None:
    response = await caller.post(BULK, json=_bulk(email("somebody-else"), {}))

    assert response.status_code == 202
    assert (response.json()["accepted"], response.json()["rejected"]) == (0, 2)


async def test_what_was_rejected_whole_is_not_kept_under_its_key(
    caller: httpx.AsyncClient, user: str
) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    await caller.post(BULK, json=_bulk({}), headers=key)

    response = await caller.post(BULK, json=_bulk(email(user)), headers=key)

    assert response.json()["accepted"] == 1


async def test_a_replay_of_what_would_be_rejected_whole_today_is_the_first_answer(
    caller: httpx.AsyncClient, user: str
) -> None:
    key, body = {"Idempotency-Key": uuid4().hex}, _bulk(email(user, expires_at=ahead(seconds=1)))
    first = await caller.post(BULK, json=body, headers=key)
    await asyncio.sleep(1.1)

    again = await caller.post(BULK, json=body, headers=key)

    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(("count", "statuses"), [(7, [202] * 5 + [429] * 2), (6, [202] * 5 + [429])])
async def test_over_the_limit_the_earlier_items_win(
    caller: httpx.AsyncClient, user: str, count: int, statuses: list[int]
) -> None:
    response = await caller.post(BULK, json=_bulk(*[email(user)] * count))

    found = [each.get("error", {"status": 202})["status"] for each in response.json()["results"]]
    assert found == statuses
    assert "ratelimit-limit" not in response.headers


@pytest.mark.parametrize("count", [1, 2])
async def test_a_receiver_without_allowance_gets_nothing_and_the_call_is_still_202(
    caller: httpx.AsyncClient, user: str, count: int
) -> None:
    """One draft and many take different ways through the service."""
    await caller.post(BULK, json=_bulk(*[email(user)] * 5))

    response = await caller.post(BULK, json=_bulk(*[email(user)] * count))

    assert response.status_code == 202
    assert {each["error"]["status"] for each in response.json()["results"]} == {429}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "notifications"),
        ({"notifications": []}, "notifications"),
        ({"notifications": {}}, "notifications"),
        ({"notifications": [{}] * 1001}, "notifications"),
        ({"notifications": [{}], "x": 1}, ""),
        ([], ""),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_wrong_envelope_is_refused_as_a_whole(
    caller: httpx.AsyncClient, body: Any, field: str
) -> None:
    response = await caller.post(BULK, json=body)

    assert list(problems(response)) == [field]


async def test_a_thousand_items_are_taken(admin: httpx.AsyncClient, user: str) -> None:
    items = [email(f"{user}-{number}") for number in range(1000)]

    response = await admin.post(BULK, json=_bulk(*items))

    assert response.json()["accepted"] == 1000


async def test_only_so_many_are_held_at_once_and_the_others_are_told_to_come_back(
    caller: httpx.AsyncClient, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a body of up to 5 MB and all that is made of it."""
    monkeypatch.setattr(bulk, "PATIENCE", timedelta(seconds=0.2))
    uploading, kind = asyncio.Event(), {"Content-Type": "application/json"}

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"notifications": '
        await uploading.wait()
        yield b"[{}]}"

    held = [asyncio.create_task(caller.post(BULK, content=slowly(), headers=kind)) for _ in range(8)]
    await asyncio.sleep(0.05)
    refused = await caller.post(BULK, json=_bulk(email(user)))
    late = asyncio.create_task(caller.post(BULK, json=_bulk(email(user))))
    await asyncio.sleep(0.05)
    uploading.set()

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) > 0
    assert (await late).json()["accepted"] == 1
    assert [response.status_code for response in await asyncio.gather(*held)] == [202] * 8
