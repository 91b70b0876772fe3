"""The flat profile: its own words, the same service."""

import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.api.rig import ahead, email, problems

FLAT = {"channel": "email", "recipient": "ann@example.com", "subject": "A parcel", "body": "hello"}


def _flat(**changes: Any) -> dict[str, Any]:
    return {**FLAT, **changes}


async def test_a_notification_is_created_for_the_caller(caller: httpx.AsyncClient, user: str) -> None:
    response = await caller.post("/notifications", json=FLAT)

    answer = response.json()
    assert response.status_code == 201
    assert list(answer) == ["id", "channel", "recipient", "status", "sent_at", "created_at"]
    assert (answer["channel"], answer["recipient"]) == ("email", "ann@example.com")
    assert (answer["status"], answer["sent_at"]) == ("pending", None)
    native = (await caller.get(f"/v1/notifications/{UUID(answer['id'])}")).json()
    assert native["user_id"] == user
    assert native["channel"] == {"type": "email", "to": "ann@example.com", "subject": "A parcel"}


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (
            {"channel": "sms", "recipient": "+4915112345678"},
            {"type": "sms", "phone_number": "+4915112345678"},
        ),
        (
            {"channel": "push", "recipient": "any device", "subject": "Hi"},
            {"type": "push", "device_token": "any device", "title": "Hi"},
        ),
        ({"channel": "push", "recipient": "d"}, {"type": "push", "device_token": "d", "title": None}),
        (
            {"channel": "push", "recipient": "d", "subject": ""},
            {"type": "push", "device_token": "d", "title": None},
        ),
        (
            {"channel": "webhook", "recipient": "https://example.com/x", "subject": "left out"},
            {"type": "webhook", "url": "https://example.com/x"},
        ),
    ],
)
async def test_each_channel_becomes_a_native_one(
    caller: httpx.AsyncClient, sent: dict[str, Any], stored: dict[str, Any]
) -> None:
    response = await caller.post("/notifications", json={**sent, "body": "hello"})

    assert response.status_code == 201
    native = (await caller.get(f"/v1/notifications/{response.json()['id']}")).json()
    assert native["channel"] == stored


async def test_metadata_is_any_object_and_shown_as_it_is(caller: httpx.AsyncClient) -> None:
    metadata = {"a": [1, 2.5, {"b": None}], "ü": True, "large": 10**30, "": {}}

    response = await caller.post("/notifications", json=_flat(metadata=metadata, body="b" * 10_000))

    native = (await caller.get(f"/v1/notifications/{response.json()['id']}")).json()
    assert native["metadata"] == metadata
    assert len(native["body"]) == 10_000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recipient": "nobody"}, "recipient"),
        ({"recipient": ""}, "recipient"),
        ({"recipient": "a" * 250 + "@example.com"}, "recipient"),
        ({"recipient": None}, "recipient"),
        ({"channel": "sms", "recipient": "0151"}, "recipient"),
        ({"channel": "webhook", "recipient": "example.com"}, "recipient"),
        ({"channel": "webhook", "recipient": "https://example.com/\x00"}, "recipient"),
        ({"channel": "push", "recipient": ""}, "recipient"),
        ({"channel": "push", "recipient": "d" * 256}, "recipient"),
        ({"channel": "push", "recipient": "a\nb"}, "recipient"),
        ({"channel": "chat"}, "channel"),
        ({"channel": None}, "channel"),
        ({"subject": None}, "subject"),
        ({"subject": ""}, "subject"),
        ({"subject": "s" * 201}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"channel": "sms", "recipient": "+4915112345678", "subject": "s" * 201}, "subject"),
        ({"body": ""}, "body"),
        ({"body": "b" * 10_001}, "body"),
        ({"metadata": []}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"metadata": {"a": "x" * 16_384}}, "metadata"),
        ({"metadata": {"a": [{"b": "\x00"}]}}, "metadata"),
        ({"metadata": {"\x00": 1}}, "metadata"),
        ({"user_id": "ann"}, ""),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_value_is_named_by_its_field(
    caller: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    response = await caller.post("/notifications", json=_flat(**changes))

    assert list(problems(response)) == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ("text", ""),
        ({}, "channel"),
        ({"channel": {"type": "email"}}, "channel"),
        ({"email": 1}, "channel"),
    ],
    ids=str,
)
async def test_a_body_of_another_shape_is_refused(caller: httpx.AsyncClient, body: Any, field: str) -> None:
    assert list(problems(await caller.post("/notifications", json=body))) == [field]


async def test_an_email_needs_a_subject(caller: httpx.AsyncClient) -> None:
    without = {name: value for name, value in FLAT.items() if name != "subject"}

    assert problems(await caller.post("/notifications", json=without)) == {"subject": "is required"}


async def test_a_number_out_of_all_measure_is_refused(caller: httpx.AsyncClient) -> None:
    body = json.dumps(_flat(metadata={"a": 1})).replace('"a": 1', '"a": 1e999')

    response = await caller.post("/notifications", content=body, headers={"Content-Type": "application/json"})

    assert list(problems(response)) == ["metadata"]


async def test_metadata_may_have_16_kb(caller: httpx.AsyncClient) -> None:
    largest = {"a": "x" * (16_384 - len('{"a":""}'))}

    assert (await caller.post("/notifications", json=_flat(metadata=largest))).status_code == 201


async def test_pages_are_numbered_and_counted(caller: httpx.AsyncClient) -> None:
    sent = [(await caller.post("/notifications", json=FLAT)).json() for _ in range(3)]

    first = (await caller.get("/notifications?per_page=2")).json()
    second = (await caller.get("/notifications?per_page=2&page=2")).json()
    beyond = (await caller.get("/notifications?page=1000000")).json()

    assert first == {"data": sent[:0:-1], "total": 3, "page": 1, "per_page": 2}
    assert second == {"data": sent[:1], "total": 3, "page": 2, "per_page": 2}
    assert (beyond["data"], beyond["total"]) == ([], 3)


async def test_the_four_statuses_stand_for_all(caller: httpx.AsyncClient, user: str) -> None:
    waits = await caller.post("/v1/notifications", json=email(user, scheduled_for=ahead(days=1)))
    stopped = await caller.post("/v1/notifications", json=email(user, scheduled_for=ahead(days=1)))
    await caller.post(f"/v1/notifications/{stopped.json()['id']}/cancel")

    async def found(status: str) -> list[str]:
        data = (await caller.get("/notifications", params={"status": status})).json()["data"]
        return [row["id"] for row in data]

    assert await found("pending") == [waits.json()["id"]]
    assert await found("failed") == [stopped.json()["id"]]
    assert await found("sent") == await found("delivered") == []
    assert len(await found("")) == 2


@pytest.mark.parametrize(
    "query",
    [
        "status=cancelled",
        "status=x",
        "page=0",
        "page=x",
        "page=",
        "per_page=0",
        "per_page=101",
        "x=1",
        "page=1&page=2",
    ],
)
async def test_a_bad_query_is_422(caller: httpx.AsyncClient, query: str) -> None:
    assert (await caller.get(f"/notifications?{query}")).status_code == 422


async def test_an_administrator_sees_everybodys(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str
) -> None:
    flat = (await caller.post("/notifications", json=FLAT)).json()
    native = (await caller.post("/v1/notifications", json=email(user))).json()

    newest = (await admin.get("/notifications?per_page=2")).json()["data"]

    assert [row["id"] for row in newest] == [native["id"], flat["id"]]
