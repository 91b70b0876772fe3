"""The way in and the way out."""

import re

import httpx
import pytest

from notification_service.domain.people import Role
from tests.web.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


def form_token(response: httpx.Response, name: str = "form_token") -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', response.text)
    assert found
    return found[1]


async def test_a_link_signs_in_once(site: Site) -> None:
    """The second person to follow it reads how to get a new one."""
    link = await site.link("ann")
    async with site.client() as first, site.client() as second:
        followed = await first.get(link)
        again = await second.get(link)

        assert (followed.status_code, followed.headers["location"]) == (303, "/mailbox")
        assert (await first.get("/mailbox")).status_code == 200
        assert again.status_code == 410
        assert "prints a new one" in again.text
        assert "ns_session" not in second.cookies


async def test_whoever_follows_their_own_used_link_again_stays_signed_in(site: Site) -> None:
    """A double click or a restored tab must not look like a failure."""
    link = await site.link("ann")
    async with site.client() as client:
        await client.get(link)

        again = await client.get(link)

    assert (again.status_code, again.headers["location"]) == (303, "/mailbox")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"sec-purpose": "prefetch;prerender"}),
        ("GET", {"purpose": "prefetch"}),
        ("GET", {"user-agent": "Slackbot-LinkExpanding 1.0"}),
        ("GET", {"sec-fetch-mode": "no-cors"}),
    ],
)
async def test_looking_at_a_link_does_not_use_it_up(site: Site, method: str, headers: dict[str, str]) -> None:
    """Chat programs and browsers fetch addresses which nobody has clicked."""
    link = await site.link("ann")
    async with site.client() as client:
        looked = await client.request(method, link, headers=headers)
        assert looked.status_code == 200
        assert not looked.cookies

        followed = await client.get(link)

    assert followed.headers["location"] == "/mailbox"


async def test_a_person_taken_for_a_robot_still_gets_in(site: Site) -> None:
    """The page a robot gets has a button that signs in."""
    link = await site.link("ann")
    async with site.client() as client:
        page = await client.get(link, headers={"user-agent": "Mybot"})
        pressed = await client.post(link)

    assert "<button" in page.text
    assert pressed.headers["location"] == "/mailbox"
    assert pressed.cookies["ns_session"]


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    """In development it has to work without https, hence no Secure."""
    async with site.client() as client:
        cookie = (await client.get(await site.link("ann"))).headers["set-cookie"]

    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


async def test_signing_in_again_ends_the_session_before(site: Site) -> None:
    """Nobody's old cookie stays valid behind their back."""
    async with site.client() as client:
        await client.get(await site.link("ann"))
        before = client.cookies["ns_session"]
        await client.get(await site.link("ann"))

        client.cookies.set("ns_session", before, domain="127.0.0.1")
        old = await client.get("/mailbox", headers={"cookie": f"ns_session={before}"})

    assert old.headers["location"] == "/"


@pytest.mark.parametrize("path", ["/mailbox", "/mailbox/", "/dashboard", "/mailbox?message=x"])
async def test_a_page_without_a_session_leads_to_the_sign_in_page(site: Site, path: str) -> None:
    """People get a form to fill in rather than an error."""
    async with site.client() as client:
        response = await client.get(path)

    assert (response.status_code, response.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    "path",
    [
        "/mailbox",
        "/mailbox/messages",
        "/mailbox/news",
        "/mailbox/messages/01a1fdbd-642a-7060-82d7-b20a33a69ad5",
        "/dashboard",
    ],
)
async def test_data_without_a_session_is_401(site: Site, path: str) -> None:
    """A script can't do anything with a form."""
    async with site.client(headers={"accept": "application/json"}) as client:
        response = await client.get(path)

    assert response.status_code == 401
    assert response.json()["detail"] == "Not authenticated"


async def test_a_name_and_a_password_sign_in(site: Site) -> None:
    """It is the way in where nobody prints links."""
    await site.service.people.add("pat", "correct horse battery", Role.USER)
    async with site.client() as client:
        token = form_token(await client.get("/"))
        form = {"form_token": token, "username": "pat", "password": "correct horse battery"}
        response = await client.post("/sign-in", data=form)

        assert (response.status_code, response.headers["location"]) == (303, "/mailbox")
        assert (await client.get("/")).headers["location"] == "/mailbox"


async def test_who_is_shut_out_is_out_at_once(site: Site) -> None:
    """Not only once the cookie is too old."""
    await site.service.people.add("mallory", "correct horse battery", Role.USER)
    async with site.client() as client:
        form = {"form_token": form_token(await client.get("/")), "username": "mallory"}
        await client.post("/sign-in", data=form | {"password": "correct horse battery"})
        assert (await client.get("/mailbox")).status_code == 200

        await site.service.people.set_disabled("mallory", disabled=True)

        assert (await client.get("/mailbox")).headers["location"] == "/"


async def test_a_wrong_password_is_said_without_saying_more(site: Site) -> None:
    """Whether the name exists is nobody's business."""
    async with site.client() as client:
        token = form_token(await client.get("/"))
        form = {"form_token": token, "username": '"><b>x', "password": "wrong"}
        response = await client.post("/sign-in", data=form)

    assert response.status_code == 401
    assert "Wrong username or password." in response.text
    assert "&#34;&gt;&lt;b&gt;x" in response.text


async def test_guessing_passwords_ends_soon(site: Site) -> None:
    """The patience is the one of `/v1/auth/token`."""
    async with site.client() as client:
        token = form_token(await client.get("/"))
        form = {"form_token": token, "username": "guessed", "password": "wrong"}
        answers = [(await client.post("/sign-in", data=form)).status_code for _ in range(11)]

    assert answers == [401] * 10 + [429]


@pytest.mark.parametrize(
    ("token", "headers"),
    [("", {}), ("made up", {}), (None, {"sec-fetch-site": "cross-site"})],
)
async def test_a_sign_in_form_of_another_site_is_refused(
    site: Site, token: str | None, headers: dict[str, str]
) -> None:
    """Otherwise people could be signed in as somebody else without noticing."""
    async with site.client() as client:
        own = form_token(await client.get("/"))
        form = {"form_token": own if token is None else token, "username": "pat", "password": "x"}
        response = await client.post("/sign-in", data=form, headers=headers)

    assert response.status_code == 403


async def test_signing_out_ends_the_session(site: Site) -> None:
    """The cookie's value is worth nothing afterwards."""
    async with site.client() as client:
        await client.get(await site.link("ann"))
        value = client.cookies["ns_session"]
        token = form_token(await client.get("/mailbox"), "csrf_token")

        response = await client.post("/logout", data={"csrf_token": token})

        assert (response.status_code, response.headers["location"]) == (303, "/")
        again = await client.get("/mailbox", headers={"cookie": f"ns_session={value}"})
        assert again.headers["location"] == "/"


async def test_following_the_logout_address_signs_out(site: Site) -> None:
    """It is what people type."""
    async with site.client() as client:
        await client.get(await site.link("ann"))

        response = await client.get("/logout")

        assert response.headers["location"] == "/"
        assert (await client.get("/mailbox")).headers["location"] == "/"


async def test_another_site_cannot_sign_anybody_out(site: Site) -> None:
    """It leads to a question instead, and a form without the token does, too."""
    async with site.client() as client:
        await client.get(await site.link("ann"))

        followed = await client.get("/logout", headers={"sec-fetch-site": "cross-site"})
        posted = await client.post("/logout", data={"csrf_token": "made up"})

        assert (followed.status_code, posted.status_code) == (200, 403)
        assert (await client.get("/mailbox")).status_code == 200
