"""POST /v1/auth/token, as OAuth2 password clients use it."""

from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from notification_service.application import patience
from notification_service.domain.people import Role
from tests.api.rig import Api, problems

TOKEN = "/v1/auth/token"
PASSWORD = "correct horse"


@pytest_asyncio.fixture(loop_scope="session")
async def member(api: Api) -> str:
    name = f"member-{uuid4().hex[:8]}"
    await api.service.people.add(name, PASSWORD, Role.ADMIN)
    return name


async def test_name_and_password_are_exchanged_for_a_token(
    api: Api, stranger: httpx.AsyncClient, member: str
) -> None:
    form = {"grant_type": "password", "username": member, "password": PASSWORD, "scope": ""}

    response = await stranger.post(TOKEN, data=form)

    answer = response.json()
    assert response.status_code == 200
    assert set(answer) == {"access_token", "token_type", "expires_in"}
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 3600)
    assert response.headers["cache-control"] == "no-store"
    principal = api.service.tokens.verify(answer["access_token"])
    assert (principal.subject, principal.role) == (member, Role.ADMIN)


async def test_a_wrong_password_and_an_unknown_name_are_answered_alike(
    stranger: httpx.AsyncClient, member: str
) -> None:
    wrong = await stranger.post(TOKEN, data={"username": member, "password": "wrong"})
    unknown = await stranger.post(TOKEN, data={"username": f"no-{member}", "password": "wrong"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.headers["www-authenticate"] == "Bearer"
    assert wrong.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}


async def test_guessing_is_slowed_down(
    stranger: httpx.AsyncClient, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "MOST_FAILURES", 2)
    for _ in range(2):
        await stranger.post(TOKEN, data={"username": member, "password": "wrong"})

    response = await stranger.post(TOKEN, data={"username": member, "password": PASSWORD})

    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"username": "ann"}, "password"),
        ({"password": "p"}, "username"),
        ({"username": "ann", "password": "p", "grant_type": "client_credentials"}, "grant_type"),
        ({"username": "a\x00", "password": "p"}, "username"),
        ({"username": "ann", "password": "p", "x": "1"}, ""),
    ],
)
async def test_a_wrong_form_is_422(stranger: httpx.AsyncClient, form: dict[str, str], field: str) -> None:
    assert list(problems(await stranger.post(TOKEN, data=form))) == [field]


async def test_only_a_form_is_taken(stranger: httpx.AsyncClient) -> None:
    response = await stranger.post(TOKEN, json={"username": "ann", "password": "p"})

    assert response.status_code == 415


async def test_a_huge_form_is_413(stranger: httpx.AsyncClient) -> None:
    response = await stranger.post(TOKEN, data={"username": "ann", "password": "p" * 20_000})

    assert response.status_code == 413
