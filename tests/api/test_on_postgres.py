"""The API over PostgreSQL: what goes in comes out as over SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest_asyncio
from pydantic import SecretStr

from notification_service.domain.people import Role
from notification_service.settings import Settings
from tests.api.rig import Api, ahead, an_api, email

FLAT = {"channel": "sms", "recipient": "+4915112345678", "body": "hello"}


@pytest_asyncio.fixture(loop_scope="session")
async def api(postgres_database: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with an_api(Settings(data_dir=tmp_path, database_url=SecretStr(postgres_database))) as api:
        yield api


async def test_an_answer_is_what_is_stored(caller: httpx.AsyncClient, user: str) -> None:
    wanted = email(user, body="😀 \u2028 \\ \" '", metadata={"ü": "\n"}, scheduled_for=ahead(days=1))

    sent = await caller.post("/v1/notifications", json=wanted)
    read = await caller.get(f"/v1/notifications/{sent.json()['id']}")

    assert sent.status_code == 202
    assert read.json() == sent.json()


async def test_metadata_of_any_kind_survives(caller: httpx.AsyncClient) -> None:
    metadata: dict[str, Any] = {"a": [1, 2.5, None, {"b": True}], "large": 10**30, "": {}, "deep": _deep(150)}

    sent = await caller.post("/notifications", json={**FLAT, "metadata": metadata})
    read = await caller.get(f"/v1/notifications/{sent.json()['id']}")

    assert read.json()["metadata"] == metadata


async def test_a_key_is_one_request(caller: httpx.AsyncClient, user: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    bulk = {"notifications": [email(user), {}, email(user)]}

    first = await caller.post("/v1/notifications/bulk", json=bulk, headers=key)
    again = await caller.post("/v1/notifications/bulk", json=bulk, headers=key)

    assert first.json()["accepted"] == 2
    assert again.content == first.content
    assert (await caller.get("/notifications")).json()["total"] == 2


async def test_lists_are_read_on(api: Api, caller: httpx.AsyncClient, user: str) -> None:
    sent = [(await caller.post("/notifications", json=FLAT)).json()["id"] for _ in range(3)]

    first = (await caller.get("/v1/notifications?limit=2")).json()
    second = (
        await caller.get("/v1/notifications", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()

    assert [row["id"] for row in first["data"] + second["data"]] == sent[::-1]
    async with api.caller("root", Role.ADMIN) as admin:
        assert len((await admin.get("/notifications")).json()["data"]) == 3


async def test_oldest_and_furthest_times_can_be_kept(caller: httpx.AsyncClient, user: str) -> None:
    extreme = {"scheduled_for": "0001-01-01T00:00:00Z", "expires_at": "9999-12-31T23:59:59.999999Z"}

    sent = await caller.post("/v1/notifications", json=email(user, **extreme))
    read = await caller.get(f"/v1/notifications/{sent.json()['id']}")

    assert sent.status_code == 202, sent.text
    assert {name: read.json()[name] for name in extreme} == extreme


def _deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested
