"""POST /v1/notifications: what is stored and what is answered."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.api.rig import Api, ahead, email, problems

ANSWERED = {
    "id", "user_id", "channel", "body", "metadata", "status", "status_reason", "retry_count", "priority",
    "created_at", "due_at", "sent_at", "scheduled_for", "expires_at", "category", "reference", "template",
    "variables", "fallbacks",
}  # fmt: skip
OTHER_CHANNELS = [
    {"type": "sms", "phone_number": "+4915112345678"},
    {"type": "push", "device_token": "abc:def", "title": "A parcel"},
    {"type": "webhook", "url": "https://example.com/hook?x=1"},
]


async def test_a_notification_is_accepted_and_answered_as_the_bare_resource(
    caller: httpx.AsyncClient, user: str
) -> None:
    response = await caller.post("/v1/notifications", json=email(user, metadata={"order": "1042"}))

    answer = response.json()
    assert response.status_code == 202
    assert set(answer) == ANSWERED
    assert UUID(answer["id"]).version == 7
    assert answer["user_id"] == user
    assert answer["channel"] == {"type": "email", "to": "ann@example.com", "subject": "A parcel"}
    assert (answer["body"], answer["metadata"]) == ("It arrives tomorrow.", {"order": "1042"})
    assert answer["status"] in {"pending", "queued"}
    assert (answer["retry_count"], answer["priority"]) == (0, 5)


async def test_what_was_left_out_is_null(caller: httpx.AsyncClient, user: str) -> None:
    answer = (await caller.post("/v1/notifications", json=email(user))).json()

    absent = {"status_reason", "sent_at", "scheduled_for", "expires_at", "category", "reference"}
    assert {answer[name] for name in absent | {"template", "variables", "fallbacks"}} == {None}
    assert answer["metadata"] == {}


async def test_times_are_utc_and_end_in_z(caller: httpx.AsyncClient, user: str) -> None:
    wanted = {"scheduled_for": "2026-01-01T02:00:00.25+02:00"}

    answer = (await caller.post("/v1/notifications", json=email(user, **wanted))).json()

    assert answer["scheduled_for"] == "2026-01-01T00:00:00.250000Z"
    assert answer["created_at"].endswith("Z")


@pytest.mark.parametrize("channel", OTHER_CHANNELS, ids=lambda channel: channel["type"])
async def test_each_channel_is_accepted_as_it_is(
    caller: httpx.AsyncClient, user: str, channel: dict[str, Any]
) -> None:
    response = await caller.post("/v1/notifications", json=email(user, channel=channel))

    assert response.status_code == 202
    assert response.json()["channel"] == channel


async def test_what_is_answered_is_what_can_be_read_afterwards(caller: httpx.AsyncClient, user: str) -> None:
    sent = await caller.post("/v1/notifications", json=email(user, priority=10, category="c", reference="r"))

    read = await caller.get(f"/v1/notifications/{sent.json()['id']}")

    assert read.json() == sent.json()


async def test_a_user_cannot_send_for_another_one(caller: httpx.AsyncClient) -> None:
    response = await caller.post("/v1/notifications", json=email("somebody-else"))

    assert response.status_code == 403
    assert response.json()["detail"] == "cannot send notifications for other users"


async def test_an_administrator_sends_for_anyone(admin: httpx.AsyncClient, user: str) -> None:
    response = await admin.post("/v1/notifications", json=email(user))

    assert response.status_code == 202
    assert response.json()["user_id"] == user


async def test_a_time_that_has_passed_means_now(caller: httpx.AsyncClient, user: str) -> None:
    answer = (await caller.post("/v1/notifications", json=email(user, scheduled_for=ahead(days=-400)))).json()

    assert answer["due_at"] == answer["created_at"]
    assert answer["status_reason"] is None


async def test_what_is_scheduled_waits_and_says_so(caller: httpx.AsyncClient, user: str) -> None:
    answer = (await caller.post("/v1/notifications", json=email(user, scheduled_for=ahead(days=365)))).json()

    assert (answer["status"], answer["status_reason"]) == ("pending", "scheduled")
    assert answer["due_at"] == answer["scheduled_for"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scheduled_for": "2030-13-01T00:00:00Z"}, "scheduled_for"),
        ({"scheduled_for": "2026-01-01T00:00:00"}, "scheduled_for"),
        ({"scheduled_for": "2026-01-01"}, "scheduled_for"),
        ({"scheduled_for": 1_800_000_000}, "scheduled_for"),
        ({"scheduled_for": "1800000000"}, "scheduled_for"),
        ({"scheduled_for": "0001-01-01T00:00:00+14:00"}, "scheduled_for"),
        ({"scheduled_for": ahead(days=367)}, "scheduled_for"),
        ({"expires_at": ahead(seconds=-1)}, "expires_at"),
        ({"expires_at": ahead(hours=1), "scheduled_for": ahead(hours=2)}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, "expires_at"),
    ],
)
async def test_times_that_cannot_be_kept_are_refused(
    caller: httpx.AsyncClient, user: str, changes: dict[str, Any], field: str
) -> None:
    response = await caller.post("/v1/notifications", json=email(user, **changes))

    assert list(problems(response)) == [field]


async def test_the_oldest_and_the_furthest_time_can_be_kept(caller: httpx.AsyncClient, user: str) -> None:
    extreme = {"scheduled_for": "0001-01-01T00:00:00Z", "expires_at": "9999-12-31T23:59:59.999999Z"}

    sent = await caller.post("/v1/notifications", json=email(user, **extreme))
    read = await caller.get(f"/v1/notifications/{sent.json()['id']}")

    assert {name: read.json()[name] for name in extreme} == extreme


async def test_a_small_z_and_a_space_are_rfc_3339_too(caller: httpx.AsyncClient, user: str) -> None:
    soon = datetime.now(UTC).strftime("%Y-%m-%d 23:59:59.5z")

    response = await caller.post("/v1/notifications", json=email(user, scheduled_for=soon))

    assert response.status_code == 202


async def test_a_channel_nobody_serves_is_refused(api: Api, caller: httpx.AsyncClient, user: str) -> None:
    for channel in ({"type": "chat", "url": "slack://x"}, {"type": "in_app"}):
        response = await caller.post("/v1/notifications", json=email(user, channel=channel))

        assert list(problems(response)) == ["channel.type"]
        assert "later release" in problems(response)["channel.type"]


@pytest.mark.parametrize(
    "changes", [{"template": "t"}, {"variables": {}}, {"fallbacks": []}, {"dry_run": True}, {"dry_run": None}]
)
async def test_what_arrives_later_is_refused_and_not_ignored(
    caller: httpx.AsyncClient, user: str, changes: dict[str, Any]
) -> None:
    response = await caller.post("/v1/notifications", json=email(user, **changes))

    [(field, message)] = problems(response).items()
    assert field in changes
    assert "later release" in message


async def test_an_answer_can_be_sent_again_with_its_empty_fields(
    caller: httpx.AsyncClient, user: str
) -> None:
    empty = {"template": None, "variables": None, "fallbacks": None, "dry_run": False}
    empty |= {"scheduled_for": None, "expires_at": None, "category": None, "reference": None}

    response = await caller.post("/v1/notifications", json=email(user, **empty))

    assert response.status_code == 202


async def test_a_whole_number_may_be_written_as_a_fraction(caller: httpx.AsyncClient, user: str) -> None:
    response = await caller.post("/v1/notifications", json=email(user, priority=7.0))

    assert response.json()["priority"] == 7
