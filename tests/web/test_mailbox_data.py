"""What the page is made of: its headers, its assets, its data and who may have them."""

import asyncio
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx
import pytest

from notification_service.domain.people import Role
from notification_service.entrypoints.web.assets import asset_path
from tests.web.site import Site, running_site
from tests.web.test_sign_in import form_token

pytestmark = pytest.mark.asyncio(loop_scope="session")


def new_user() -> str:
    return f"ann-{uuid4().hex[:8]}"


async def signed_in(site: Site, client: httpx.AsyncClient, user: str, role: Role = Role.USER) -> None:
    await client.get(await site.link(user, role))


async def test_nobody_sees_anybody_elses_messages(site: Site) -> None:
    """Neither in the list nor by guessing an address; an administrator sees all."""
    ann, ben = new_user(), new_user()
    message = await site.put(ann, html="<p>secret</p>")
    paths = [f"/mailbox/messages/{message.id}", f"/mailbox/messages/{message.id}/html"]
    async with site.client() as his, site.client() as admins:
        await signed_in(site, his, ben)
        await signed_in(site, admins, "root", Role.ADMIN)

        assert (await his.get("/mailbox/messages")).json()["messages"] == []
        assert [(await his.get(path)).status_code for path in paths] == [404, 404]
        assert [(await admins.get(path)).status_code for path in paths] == [200, 200]


async def test_clearing_takes_ones_own_messages_only(site: Site) -> None:
    """Two developers may share a service."""
    ann, ben = new_user(), new_user()
    await site.put(ann)
    await site.put(ben)
    async with site.client() as client:
        await signed_in(site, client, ann)
        token = form_token(await client.get("/mailbox"), "csrf_token")

        await client.post("/mailbox/clear", data={"csrf_token": token})

        assert (await client.get("/mailbox/messages")).json()["messages"] == []
        await signed_in(site, client, ben)
        assert len((await client.get("/mailbox/messages")).json()["messages"]) == 1


async def test_clearing_without_the_forms_token_is_refused(site: Site) -> None:
    """Another site could have made the form."""
    ann = new_user()
    await site.put(ann)
    async with site.client() as client:
        await signed_in(site, client, ann)

        refused = await client.post("/mailbox/clear", data={"csrf_token": "made up"})

        assert refused.status_code == 403
        assert len((await client.get("/mailbox/messages")).json()["messages"]) == 1


async def test_news_is_answered_when_it_comes(site: Site) -> None:
    """Nobody waits for the end of a round."""
    ann = new_user()
    async with site.client() as client:
        await signed_in(site, client, ann)
        version = (await client.get("/mailbox/news")).json()["version"]
        waiting = asyncio.create_task(client.get("/mailbox/news", params={"version": version}))
        await asyncio.sleep(0.2)

        await site.put(ann, subject="fresh")
        begun = monotonic()
        news = await waiting

    assert [each["subject"] for each in news.json()["messages"]] == ["fresh"]
    assert monotonic() - begun < 1.5


async def test_no_news_is_answered_with_nothing(site: Site) -> None:
    """Rounds are short: nothing is left open for long when the server is told to stop."""
    async with site.client() as client:
        await signed_in(site, client, new_user())
        version = (await client.get("/mailbox/news")).json()["version"]
        begun = monotonic()

        answer = await client.get("/mailbox/news", params={"version": version})

    assert answer.status_code == 204
    assert 1 < monotonic() - begun < 4


async def test_a_list_is_read_on_from_where_it_ended(site: Site) -> None:
    """Nothing is shown twice and nothing is left out."""
    ann = new_user()
    put = [str((await site.put(ann, subject=str(number))).id) for number in range(55)]
    async with site.client() as client:
        await signed_in(site, client, ann)
        first = (await client.get("/mailbox/messages")).json()
        after = first["messages"][-1]["id"]
        rest = (await client.get("/mailbox/messages", params={"after": after})).json()

    assert first["has_more"]
    assert not rest["has_more"]
    assert [each["id"] for each in first["messages"] + rest["messages"]] == put[::-1]


async def test_a_line_tells_its_notifications_status(site: Site) -> None:
    """One of several in the list; what is not known here has none."""
    ann = new_user()
    await site.put(ann, subject="of nothing")
    await site.send(ann, {"type": "email", "to": "ann@example.com", "subject": "sent"}, "hello")
    async with site.client() as client:
        await signed_in(site, client, ann)
        async with asyncio.timeout(10):
            found: dict[str, str | None] = {}
            while found.get("sent") != "sent":
                rows = (await client.get("/mailbox/messages")).json()["messages"]
                found = {row["subject"]: row["status"] for row in rows}
                await asyncio.sleep(0.05)

    assert found == {"of nothing": None, "sent": "sent"}


async def test_odd_questions_get_ordinary_answers(site: Site) -> None:
    """Addresses are edited by hand."""
    async with site.client() as client:
        await signed_in(site, client, new_user())
        odd = {"search": "\x00%'\"", "channel": "pigeon", "after": "x"}

        assert (await client.get("/mailbox/messages", params=odd)).status_code == 200
        assert (await client.get("/mailbox/messages/x")).status_code == 404
        assert (await client.get("/mailbox/messages/%ff/html")).status_code == 404


async def test_pages_are_private_and_closed(site: Site) -> None:
    """Nothing foreign runs in them, frames them or keeps them."""
    async with site.client() as client:
        await signed_in(site, client, new_user())
        page = await client.get("/mailbox")

    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_assets_are_kept_for_good_under_their_version(site: Site) -> None:
    """Another release has another address; what an old page asks for is served but not kept."""
    async with site.client() as client:
        current = await client.get(asset_path("mailbox.js"))
        old = await client.get("/static/older/mailbox.js")
        missing = await client.get("/static/older/..%2fassets.py")

    assert "immutable" in current.headers["cache-control"]
    assert current.headers["content-type"].startswith("text/javascript")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    assert missing.status_code == 404


async def test_the_mailbox_is_there_only_while_something_is_delivered_into_it(tmp_path: Path) -> None:
    """Elsewhere the page says which setting brings it back."""
    none = {"email_providers": ("simulated", "mailbox"), "sms_providers": (), "push_providers": ()}
    async with running_site(tmp_path, **none) as site, site.client() as client:
        await signed_in(site, client, "ann")

        page = await client.get("/mailbox")

        assert page.status_code == 404
        assert "NS_EMAIL_PROVIDERS" in page.text
        assert (await client.get("/mailbox/messages")).status_code == 404


async def test_watching_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """A tab that is open somewhere must not keep the service alive."""
    async with running_site(tmp_path) as site, site.client() as client:
        await signed_in(site, client, "ann")
        version = (await client.get("/mailbox/news")).json()["version"]
        waiting = asyncio.create_task(client.get("/mailbox/news", params={"version": version}))
        await asyncio.sleep(0.2)
        begun = monotonic()
        site.stop.set()
        await waiting

    assert monotonic() - begun < 4
