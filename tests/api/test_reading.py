"""Reading one notification, its history and lists of them."""

from typing import Any

import httpx
import pytest

from tests.api.rig import ahead, email, problems

UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


async def _send(client: httpx.AsyncClient, user: str, **changes: Any) -> dict[str, Any]:
    response = await client.post("/v1/notifications", json=email(user, **changes))
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/attempts"), ("POST", "/cancel"), ("POST", "/retry")]
)
async def test_a_notification_is_its_users_and_the_administrators(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str, method: str, path: str
) -> None:
    others = await _send(admin, f"not-{user}")

    refused = await caller.request(method, f"/v1/notifications/{others['id']}{path}")
    unknown = await caller.request(method, f"/v1/notifications/{UNKNOWN_ID}{path}")
    malformed = await caller.request(method, f"/v1/notifications/nonsense{path}")

    assert (refused.status_code, refused.json()["detail"]) == (403, "not your notification")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "not found")
    assert problems(malformed) == {"id": "must be a UUID"}


@pytest.mark.parametrize("bad", ["123", "{id}x", "urn:uuid:{id}", "{short}", "%00", "{id}?x=1"])
async def test_an_id_in_another_form_is_422(caller: httpx.AsyncClient, user: str, bad: str) -> None:
    sent = await _send(caller, user)
    path = bad.format(id=sent["id"], short=sent["id"].replace("-", ""))

    response = await caller.get(f"/v1/notifications/{path}")

    assert response.status_code == 422


async def test_a_user_lists_its_own_newest_first(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str
) -> None:
    sent = [await _send(caller, user) for _ in range(3)]
    await _send(admin, f"not-{user}")

    answer = (await caller.get("/v1/notifications")).json()

    assert answer["data"] == sent[::-1]
    assert (answer["next_cursor"], answer["has_more"]) == (None, False)


async def test_an_administrator_lists_everybodys_or_one_users(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str
) -> None:
    sent = await _send(caller, user)

    everybodys = (await admin.get("/v1/notifications", params={"limit": 1})).json()
    ones = (await admin.get("/v1/notifications", params={"user_id": user})).json()

    assert everybodys["data"] == [sent]
    assert everybodys["has_more"] is True
    assert ones["data"] == [sent]


async def test_a_user_cannot_list_anothers(caller: httpx.AsyncClient, user: str) -> None:
    others = await caller.get("/v1/notifications", params={"user_id": "somebody-else"})
    own = await caller.get("/v1/notifications", params={"user_id": user})

    assert (others.status_code, own.status_code) == (403, 200)


async def test_each_filter_narrows(caller: httpx.AsyncClient, user: str) -> None:
    mine = await _send(caller, user, reference="r-1")
    waits = await _send(caller, user, scheduled_for=ahead(days=1))
    sms = await _send(caller, user, channel={"type": "sms", "phone_number": "+4915112345678"})

    async def found(**filters: str) -> list[str]:
        response = await caller.get("/v1/notifications", params=filters)
        return [row["id"] for row in response.json()["data"]]

    assert await found(reference="r-1") == [mine["id"]]
    assert await found(channel="sms") == [sms["id"]]
    assert await found(status="pending") == [waits["id"]]
    assert await found(status="cancelled") == []
    assert await found(reference="r-1", channel="sms") == []


async def test_the_ends_of_a_span_of_time_belong_to_it(caller: httpx.AsyncClient, user: str) -> None:
    first, middle, last = [await _send(caller, user) for _ in range(3)]

    span = {"created_after": middle["created_at"], "created_before": middle["created_at"]}
    only = (await caller.get("/v1/notifications", params=span)).json()["data"]
    after = (await caller.get("/v1/notifications", params={"created_after": middle["created_at"]})).json()

    assert middle in only
    assert first not in only
    assert after["data"][0] == last


async def test_cursors_lead_through_everything_once(caller: httpx.AsyncClient, user: str) -> None:
    sent = [(await _send(caller, user))["id"] for _ in range(5)]

    found, cursor = [], None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await caller.get("/v1/notifications", params=params)).json()
        found += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is (cursor is not None)
        if cursor is None:
            break

    assert found == sent[::-1]


async def test_a_cursor_fits_only_the_filters_it_came_from(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str
) -> None:
    for _ in range(3):
        await _send(caller, user)
    page = (await caller.get("/v1/notifications", params={"limit": 1, "channel": "email"})).json()
    cursor = page["next_cursor"]

    async def with_cursor(client: httpx.AsyncClient, path: str = "/v1/notifications", **filters: str) -> int:
        return (await client.get(path, params={"cursor": cursor} | filters)).status_code

    assert await with_cursor(caller, channel="email") == 200
    assert await with_cursor(caller, channel="email", limit="50") == 200
    assert await with_cursor(caller) == 422
    assert await with_cursor(caller, channel="sms") == 422
    assert await with_cursor(caller, channel="email", status="queued") == 422
    assert await with_cursor(admin, channel="email") == 422
    assert await with_cursor(caller, "/v1/mailbox", channel="email") == 422
    assert await with_cursor(admin, channel="email", user_id=user) == 200


@pytest.mark.parametrize(
    "query",
    [
        "status=", "status=nonsense", "status=sent&status=failed", "channel=pigeon", "channel=",
        "limit=0", "limit=101", "limit=x", "limit=1.0", "limit=+5", "limit=5_0", "limit=" + "9" * 30,
        "limit=",
        "cursor=", "cursor=x", "cursor=" + "A" * 43, "cursor=%00", "cursor=%C3%BC",
        "user_id=", "user_id=" + "u" * 256, "user_id=%00",
        "reference=", "reference=" + "r" * 256,
        "created_after=2026-01-01", "created_after=2026-01-01T00:00:00", "created_after=",
        "created_before=now",
        "created_after=2026-01-01T00:00:00+00:00", "unknown=1", "=1", "status", "status=%ff", "&&",
    ],
)  # fmt: skip
async def test_a_bad_query_is_422(admin: httpx.AsyncClient, query: str) -> None:
    response = await admin.get(f"/v1/notifications?{query}")

    assert response.status_code == 422
    assert "errors" in response.json()


async def test_an_unknown_parameter_is_not_repeated(caller: httpx.AsyncClient) -> None:
    response = await caller.get("/v1/notifications?secretparameter=secretvalue")

    assert problems(response) == {"": "unknown field"}
    assert "secret" not in response.text


async def test_addresses_without_parameters_take_none(caller: httpx.AsyncClient, user: str) -> None:
    response = await caller.post("/v1/notifications?dry_run=true", json=email(user))

    assert problems(response) == {"": "unknown field"}


async def test_a_pending_notification_is_cancelled_once(caller: httpx.AsyncClient, user: str) -> None:
    sent = await _send(caller, user, scheduled_for=ahead(days=1))

    first = await caller.post(f"/v1/notifications/{sent['id']}/cancel")
    second = await caller.post(f"/v1/notifications/{sent['id']}/cancel")

    assert first.status_code == 200
    assert (first.json()["status"], first.json()["status_reason"]) == ("cancelled", "cancelled_by_user")
    assert (second.status_code, second.json()["code"]) == (409, "invalid_state")


async def test_only_what_failed_can_be_retried(caller: httpx.AsyncClient, user: str) -> None:
    sent = await _send(caller, user, scheduled_for=ahead(days=1))

    response = await caller.post(f"/v1/notifications/{sent['id']}/retry")

    assert (response.status_code, response.json()["code"]) == (409, "invalid_state")


async def test_a_decision_stands_in_the_history(caller: httpx.AsyncClient, user: str) -> None:
    sent = await _send(caller, user, scheduled_for=ahead(days=1))
    await caller.post(f"/v1/notifications/{sent['id']}/cancel")

    answer = (await caller.get(f"/v1/notifications/{sent['id']}/attempts")).json()

    [entry] = answer["data"]
    assert (entry["number"], entry["kind"], entry["outcome"]) == (1, "decision", "cancelled")
    assert entry["channel"] == "email"
