"""The mailbox as callers use it to test their own products."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from notification_service.domain.people import Role
from notification_service.settings import Settings
from tests.api.rig import Api, an_api, email


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def working(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with an_api(Settings(data_dir=tmp_path_factory.mktemp("mailbox")), with_worker=True) as api:
        yield api


@pytest.fixture
def sender(working: Api, user: str) -> httpx.AsyncClient:
    return working.caller(user)


@pytest.fixture
def operator(working: Api) -> httpx.AsyncClient:
    return working.caller("operator", Role.ADMIN)


async def _delivered(client: httpx.AsyncClient, user: str, **changes: Any) -> dict[str, Any]:
    """Send, and return the message that arrived."""
    sent = (await client.post("/v1/notifications", json=email(user, **changes))).json()
    async with asyncio.timeout(10):
        while True:
            found = await client.get("/v1/mailbox", params={"notification_id": sent["id"]})
            if data := found.json()["data"]:
                message: dict[str, Any] = data[0]
                return message
            await asyncio.sleep(0.01)


async def test_what_was_sent_arrives(sender: httpx.AsyncClient, user: str) -> None:
    message = await _delivered(sender, user)

    assert set(message) == {
        "id", "notification_id", "channel", "to", "subject", "text", "html", "headers", "received_at",
    }  # fmt: skip
    assert (message["channel"], message["to"]) == ("email", "ann@example.com")
    assert (message["subject"], message["text"].strip()) == ("A parcel", "It arrives tomorrow.")
    assert message["received_at"].endswith("Z")
    assert (await sender.get(f"/v1/mailbox/{message['id']}")).json() == message


async def test_a_message_is_its_users_and_the_administrators(
    working: Api, sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    message = await _delivered(sender, user)

    async with working.caller("somebody-else") as other:
        assert (await other.get(f"/v1/mailbox/{message['id']}")).status_code == 403
        assert (await other.get("/v1/mailbox")).json()["data"] == []
    assert (await operator.get(f"/v1/mailbox/{message['id']}")).status_code == 200
    assert message in (await operator.get("/v1/mailbox")).json()["data"]


async def test_each_filter_narrows(sender: httpx.AsyncClient, user: str) -> None:
    first = await _delivered(sender, user)
    sms = await _delivered(sender, user, channel={"type": "sms", "phone_number": "+4915112345678"})

    async def found(**filters: str) -> list[str]:
        return [row["id"] for row in (await sender.get("/v1/mailbox", params=filters)).json()["data"]]

    assert await found() == [sms["id"], first["id"]]
    assert await found(channel="sms") == [sms["id"]]
    assert await found(to="ann@example.com") == [first["id"]]
    assert await found(since="2099-01-01T00:00:00Z") == []
    assert await found(limit="1") == [sms["id"]]


async def test_pages_are_read_on_with_a_cursor(sender: httpx.AsyncClient, user: str) -> None:
    messages = [await _delivered(sender, user) for _ in range(2)]

    first = (await sender.get("/v1/mailbox", params={"limit": 1})).json()
    second = (await sender.get("/v1/mailbox", params={"limit": 1, "cursor": first["next_cursor"]})).json()

    assert first["data"] + second["data"] == messages[::-1]
    assert (second["next_cursor"], second["has_more"]) == (None, False)


async def test_emptying_takes_ones_own_messages_alone(
    sender: httpx.AsyncClient, operator: httpx.AsyncClient, user: str
) -> None:
    await _delivered(sender, user)
    others = await _delivered(operator, f"not-{user}")

    response = await sender.delete("/v1/mailbox")

    assert (response.status_code, response.content) == (204, b"")
    assert (await sender.get("/v1/mailbox")).json()["data"] == []
    assert others in (await operator.get("/v1/mailbox")).json()["data"]


async def test_emptying_takes_the_same_filters(sender: httpx.AsyncClient, user: str) -> None:
    kept = await _delivered(sender, user)
    await _delivered(sender, user, channel={"type": "sms", "phone_number": "+4915112345678"})

    await sender.delete("/v1/mailbox", params={"channel": "sms"})

    assert (await sender.get("/v1/mailbox")).json()["data"] == [kept]


@pytest.mark.parametrize(
    "query", ["x=1", "to=", "notification_id=1", "since=2026-01-01", "limit=0", "cursor=x", "channel=x"]
)
async def test_a_bad_filter_is_422(sender: httpx.AsyncClient, query: str) -> None:
    assert (await sender.get(f"/v1/mailbox?{query}")).status_code == 422


async def test_an_unknown_message_is_404(sender: httpx.AsyncClient) -> None:
    response = await sender.get("/v1/mailbox/01890000-0000-7000-8000-000000000000")

    assert response.status_code == 404


async def test_a_mailbox_that_only_stands_by_is_not_in_use(tmp_path: Path) -> None:
    """The first of a channel's providers is the one that gets everything."""
    settings = Settings(
        data_dir=tmp_path,
        email_providers=("simulated", "mailbox"),
        sms_providers=("simulated",),
        push_providers=(),
    )
    async with an_api(settings) as api:
        response = await api.caller("ann").get("/v1/mailbox")

    assert response.status_code == 404
    assert "NS_EMAIL_PROVIDERS" in response.json()["detail"]
