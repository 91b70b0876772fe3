"""What the API tells of deliveries: attempts, retries and dead letters, with a provider that refuses all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from notification_service.domain.people import Role
from notification_service.settings import Settings
from tests.api.rig import Api, an_api, email, problems

UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def failing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("failing"),
        email_providers=("simulated",),
        sms_providers=(),
        push_providers=("simulated",),
        simulated_permanent_share=1.0,
    )
    async with an_api(settings, with_worker=True) as api:
        yield api


@pytest.fixture
def sender(failing: Api, user: str) -> httpx.AsyncClient:
    return failing.caller(user)


@pytest.fixture
def operator(failing: Api) -> httpx.AsyncClient:
    return failing.caller("operator", Role.ADMIN)


async def _failed(client: httpx.AsyncClient, user: str, **changes: Any) -> dict[str, Any]:
    sent = await client.post("/v1/notifications", json=email(user, **changes))
    return await _until_failed(client, sent.json()["id"])


async def _until_failed(client: httpx.AsyncClient, notification_id: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            answer: dict[str, Any] = (await client.get(f"/v1/notifications/{notification_id}")).json()
            if answer["status"] == "failed":
                return answer
            await asyncio.sleep(0.01)


async def _dead_letters(operator: httpx.AsyncClient, user: str, **filters: str) -> list[dict[str, Any]]:
    response = await operator.get("/v1/dead-letters", params={"limit": "100"} | filters)
    assert response.status_code == 200, response.text
    return [row for row in response.json()["data"] if row["user_id"] == user]


async def test_a_failure_is_told_with_its_attempt(sender: httpx.AsyncClient, user: str) -> None:
    failed = await _failed(sender, user)

    history = (await sender.get(f"/v1/notifications/{failed['id']}/attempts")).json()["data"]

    assert failed["status_reason"] == "provider_rejected"
    [entry] = history
    assert (entry["number"], entry["kind"], entry["channel"]) == (1, "attempt", "email")
    assert (entry["provider"], entry["outcome"]) == ("simulated", "permanent_error")
    assert entry["error_code"]
    assert isinstance(entry["duration_ms"], int)
    assert entry["started_at"].endswith("Z")
    assert entry["finished_at"].endswith("Z")
    assert entry["next_attempt_at"] is None


async def test_a_dead_letter_tells_what_died(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    failed = await _failed(sender, user)

    [dead] = await _dead_letters(operator, user)

    assert set(dead) == {
        "id", "notification_id", "user_id", "channel", "reason", "detail", "attempts", "dead_at",
        "redriven_at", "redriven_by", "payload",
    }  # fmt: skip
    assert (dead["notification_id"], dead["channel"]) == (failed["id"], "email")
    assert (dead["reason"], dead["attempts"]) == ("provider_rejected", 1)
    assert (dead["redriven_at"], dead["redriven_by"]) == (None, None)


async def test_a_retry_grants_a_new_attempt_and_redrives_the_dead_letter(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    failed = await _failed(sender, user)

    retried = await sender.post(f"/v1/notifications/{failed['id']}/retry")
    again = await _until_failed(sender, failed["id"])

    assert retried.status_code == 200
    assert retried.json()["status"] in {"pending", "queued"}
    assert again["retry_count"] == 1
    [old] = await _dead_letters(operator, user, redriven="true")
    [new] = await _dead_letters(operator, user)
    assert (old["redriven_by"], new["redriven_by"]) == (user, None)


async def test_a_dead_letter_is_redriven_once(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    await _failed(sender, user)
    [dead] = await _dead_letters(operator, user)

    first = await operator.post(f"/v1/dead-letters/{dead['id']}/redrive")
    second = await operator.post(f"/v1/dead-letters/{dead['id']}/redrive")

    assert first.status_code == 202
    assert (first.json()["id"], first.json()["redriven_by"]) == (dead["id"], "operator")
    assert first.json()["redriven_at"].endswith("Z")
    assert (second.status_code, second.json()["code"]) == (409, "invalid_state")


async def test_an_unknown_dead_letter_is_404(operator: httpx.AsyncClient) -> None:
    assert (await operator.post(f"/v1/dead-letters/{UNKNOWN_ID}/redrive")).status_code == 404
    assert (await operator.post("/v1/dead-letters/nonsense/redrive")).status_code == 422


async def test_dead_letters_are_redriven_by_filter(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    push = {"type": "push", "device_token": "t", "title": "A parcel"}
    await _failed(sender, user)
    await _failed(sender, user, channel=push)

    nothing = await operator.post("/v1/dead-letters/redrive", json={"until": "2020-01-01T00:00:00Z"})
    pushes = await operator.post("/v1/dead-letters/redrive", json={"channel": "push"})

    assert (nothing.status_code, nothing.json()) == (202, {"redriven": 0})
    assert (pushes.status_code, pushes.json()) == (202, {"redriven": 1})
    assert [row["channel"] for row in await _dead_letters(operator, user, redriven="true")] == ["push"]


async def test_a_redrive_takes_no_more_than_its_limit(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    for _ in range(2):
        await _failed(sender, user)

    response = await operator.post("/v1/dead-letters/redrive", json={"limit": 1})

    assert response.json() == {"redriven": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"reason": "nonsense"}, "reason"),
        ({"reason": 1}, "reason"),
        ({"channel": "pigeon"}, "channel"),
        ({"since": "2026-01-01"}, "since"),
        ({"x": 1}, ""),
    ],
)
async def test_a_redrive_by_a_bad_filter_is_refused(
    operator: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    response = await operator.post("/v1/dead-letters/redrive", json=body)

    assert list(problems(response)) == [field]


@pytest.mark.parametrize(
    "query", ["reason=nonsense", "channel=x", "since=2026-01-01", "redriven=yes", "redriven=", "x=1"]
)
async def test_a_bad_filter_is_422(operator: httpx.AsyncClient, query: str) -> None:
    assert (await operator.get(f"/v1/dead-letters?{query}")).status_code == 422


async def test_dead_letters_are_read_on_with_a_cursor(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    for _ in range(2):
        await _failed(sender, user)
    first = (await operator.get("/v1/dead-letters", params={"limit": 1})).json()

    second = (
        await operator.get("/v1/dead-letters", params={"limit": 1, "cursor": first["next_cursor"]})
    ).json()

    assert first["has_more"] is True
    assert second["data"][0]["dead_at"] <= first["data"][0]["dead_at"]
    assert second["data"][0]["id"] != first["data"][0]["id"]


async def test_a_channel_without_a_provider_is_refused(sender: httpx.AsyncClient, user: str) -> None:
    sms = email(user, channel={"type": "sms", "phone_number": "+4915112345678"})

    response = await sender.post("/v1/notifications", json=sms)

    assert list(problems(response)) == ["channel.type"]
    assert response.json()["code"] == "channel_not_configured"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("GET", f"/{UNKNOWN_ID}")])
async def test_without_the_mailbox_provider_there_is_no_mailbox(
    sender: httpx.AsyncClient, method: str, path: str
) -> None:
    response = await sender.request(method, f"/v1/mailbox{path}")

    assert response.status_code == 404
    assert "NS_EMAIL_PROVIDERS" in response.json()["detail"]
