"""Who is let in, and what everybody else is told."""

import httpx
import pytest

from notification_service.domain.people import Role
from tests.api.rig import Api

CLOSED = [
    ("POST", "/v1/notifications"),
    ("POST", "/v1/notifications/bulk"),
    ("GET", "/v1/notifications"),
    ("GET", "/v1/notifications/not-an-id"),
    ("GET", "/v1/notifications/not-an-id/attempts"),
    ("POST", "/v1/notifications/not-an-id/cancel"),
    ("POST", "/v1/notifications/not-an-id/retry"),
    ("GET", "/v1/dead-letters"),
    ("POST", "/v1/dead-letters/not-an-id/redrive"),
    ("POST", "/v1/dead-letters/redrive"),
    ("GET", "/v1/mailbox"),
    ("GET", "/v1/mailbox/not-an-id"),
    ("DELETE", "/v1/mailbox"),
    ("POST", "/notifications"),
    ("GET", "/notifications"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_nobody_gets_in_without_a_token(stranger: httpx.AsyncClient, method: str, path: str) -> None:
    response = await stranger.request(method, path)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "invalid or expired token"
    assert response.json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer x", "Basic {token}", "{token}", "Bearer {token}x"]
)
async def test_a_bad_token_is_answered_like_none(api: Api, stranger: httpx.AsyncClient, value: str) -> None:
    bad = {"Authorization": value.format(token=api.token("ann"))}

    response = await stranger.get("/v1/notifications", headers=bad)

    assert response.status_code == 401


async def test_two_tokens_are_none(api: Api, stranger: httpx.AsyncClient) -> None:
    """One proxy might check the first and we the second."""
    both = [("Authorization", f"Bearer {api.token('ann')}"), ("Authorization", f"Bearer {api.token('ann')}")]

    response = await stranger.get("/v1/notifications", headers=both)

    assert response.status_code == 401


async def test_the_scheme_may_be_written_in_any_case(api: Api, stranger: httpx.AsyncClient) -> None:
    response = await stranger.get(
        "/v1/notifications", headers={"Authorization": f"bEARER {api.token('ann')}"}
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/dead-letters"),
        ("POST", "/v1/dead-letters/redrive"),
        ("POST", "/v1/dead-letters/01890000-0000-7000-8000-000000000000/redrive"),
    ],
)
async def test_dead_letters_are_for_administrators(caller: httpx.AsyncClient, method: str, path: str) -> None:
    response = await caller.request(method, path)

    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics", "/docs", "/openapi.json"])
async def test_what_machines_and_readers_need_is_open(stranger: httpx.AsyncClient, path: str) -> None:
    response = await stranger.get(path)

    assert response.status_code == 200


async def test_an_administrator_is_known_by_the_role_in_the_token(api: Api) -> None:
    async with api.caller("ann", Role.ADMIN) as admin, api.caller("ann") as user:
        assert (await admin.get("/v1/dead-letters")).status_code == 200
        assert (await user.get("/v1/dead-letters")).status_code == 403
