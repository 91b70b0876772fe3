"""Messages are written by strangers: whatever they hold, it stays text, and nothing leaves the page."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.web.site import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    '"><svg onload="window.pwned = 1">',
    "'-(window.pwned = 1)-'",
    "</title></textarea></template></script><script>window.pwned = 1</script>",
    "javascript:window.pwned=1",
    "{{ 7 * 7 }}${7 * 7}{% raw %}",
    "<iframe srcdoc='<script>parent.pwned = 1</script>'>",
    "\u202eright to left\u202c \u2028 \ufeff",
]


@dataclass
class Elsewhere:
    """A server that no message may reach."""

    port: int = 0
    visits: list[str] = field(default_factory=list)

    async def note(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.append("connected")
        self.visits.append((await reader.readline()).decode(errors="replace"))
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncGenerator[Elsewhere]:
    watched = Elsewhere()
    server = await asyncio.start_server(watched.note, "127.0.0.1", 0)
    watched.port = server.sockets[0].getsockname()[1]
    async with server:
        yield watched


async def open_every_tab(ann: Visitor) -> None:
    await expect(ann.page.locator(".panel")).to_be_visible()
    for tab in await ann.page.get_by_role("tab").all():
        await tab.click()


async def test_markup_in_any_field_is_shown_as_it_is(ann: Visitor) -> None:
    """In the list, in the head and in every tab; the page's own policy has nothing to stop."""
    for markup in MARKUP:
        await ann.put(to=markup, subject=markup, text=markup, headers={"X-Odd": markup, markup: "value"})
    await expect(ann.page.locator(".row")).to_have_count(len(MARKUP))
    assert await ann.titles() == MARKUP[::-1]
    assert await ann.page.locator(".row .to").all_text_contents() == MARKUP[::-1]

    for row, markup in zip(await ann.page.locator(".row").all(), MARKUP[::-1], strict=True):
        await row.click()
        await expect(ann.page.locator(".head h1")).to_have_js_property("textContent", markup)
        await open_every_tab(ann)
    assert await ann.page.evaluate("window.pwned") is None


@pytest.mark.parametrize("channel", ["sms", "push", "webhook"])
async def test_markup_in_any_channel_is_shown_as_it_is(ann: Visitor, channel: str) -> None:
    """Each channel has a face of its own."""
    await ann.put(channel=channel, to=MARKUP[1], subject=MARKUP[2], text=MARKUP[0])
    await ann.page.locator(".row").click()

    await expect(ann.page.locator(".panel")).to_contain_text(MARKUP[0])
    assert await ann.page.evaluate("window.pwned") is None


async def test_markup_in_a_notification_is_shown_as_it_is(ann: Visitor) -> None:
    """The whole way from the API."""
    channel = {"type": "email", "to": "ann@example.com", "subject": MARKUP[1]}
    await ann.site.send(ann.user, channel, MARKUP[0])
    await ann.page.locator(".row").click()
    await open_every_tab(ann)

    await expect(ann.page.locator(".panel")).to_contain_text(MARKUP[1])
    assert await ann.page.evaluate("window.pwned") is None


def hostile_document(there: str) -> str:
    """Try everything that runs, loads, sends, moves or measures."""
    return f"""
      <html><head><title>x</title><base href="{there}/">
      <meta http-equiv="x-dns-prefetch-control" content="on">
      <link rel="stylesheet" href="{there}/link.css"><LINK rel="preconnect" href="{there}">
      <link rel="prefetch" href="{there}/prefetch"><link rel="preload" as="image" href="{there}/preload">
      <style>@import "{there}/import.css"; @font-face {{ font-family: f; src: url({there}/font) }}
        body {{ background: url({there}/background); font-family: f }}</style>
      <script src="{there}/script.js"></script>
      <script>top.pwned = parent.pwned = 1; fetch("{there}/fetch")</script></head>
      <body onload="parent.pwned = 1">
      <p id="seen" style="color: rgb(1, 2, 3)">Still a letter</p>
      <img src="{there}/image" srcset="{there}/set 2x" onerror="parent.pwned = 1" onload="parent.pwned = 1">
      <picture><source srcset="{there}/source"><img src="relative"></picture>
      <video src="{there}/video" poster="{there}/poster" autoplay></video>
      <audio src="{there}/audio" autoplay></audio>
      <svg onload="parent.pwned = 1"><image href="{there}/svg"/><use href="{there}/use#x"/></svg>
      <iframe src="{there}/frame"></iframe><object data="{there}/object"></object><embed src="{there}/embed">
      <form action="{there}/form"><input name="password" autofocus><button id="send">Send</button></form>
      <a id="script" href="javascript:parent.pwned=1" target="_self">script</a>
      <a id="top" href="{there}/top" target="_top">top</a>
      <meta http-equiv="refresh" content="1;url={there}/refresh">
      </body></html>"""


async def test_an_html_message_runs_nothing_and_reaches_nobody(ann: Visitor, elsewhere: Elsewhere) -> None:
    """It looks like itself, with its styles, and that is all it can do."""
    ann.may_complain = True  # the browser reports what it has stopped
    await ann.put(html=hostile_document(f"http://127.0.0.1:{elsewhere.port}"))
    await ann.page.locator(".row").click()
    letter = ann.page.frame_locator("iframe.document")
    await expect(letter.locator("#seen")).to_have_css("color", "rgb(1, 2, 3)")

    for name in ("#send", "#script", "#top"):
        await letter.locator(name).click(force=True)
    await asyncio.sleep(1.5)

    assert elsewhere.visits == []
    assert await ann.page.evaluate("window.pwned") is None
    assert ann.page.url.startswith(ann.site.url)
    assert len(ann.page.context.pages) == 1
    assert not [each for each in ann.complaints if each.startswith("dialog")]


async def test_a_link_in_a_message_opens_a_tab_that_knows_nothing_of_the_mailbox(
    ann: Visitor, elsewhere: Elsewhere
) -> None:
    """Pressing the button in a sign-up email is what a developer wants to test."""
    there = f"http://127.0.0.1:{elsewhere.port}/confirm"
    await ann.put(html=f'<a href="{there}" rel="opener">Confirm</a>')
    await ann.page.locator(".row").click()

    async with ann.page.expect_popup() as opening:
        await ann.page.frame_locator("iframe.document").get_by_text("Confirm").click()
    popup = await opening.value
    await popup.wait_for_load_state()

    assert elsewhere.visits[1].startswith("GET /confirm")
    assert await popup.evaluate("window.opener") is None


async def test_the_documents_own_address_is_as_closed_as_its_frame(
    ann: Visitor, elsewhere: Elsewhere
) -> None:
    """Opening it in a tab of its own gains nothing."""
    ann.may_complain = True
    message = await ann.put(html=hostile_document(f"http://127.0.0.1:{elsewhere.port}"))

    await ann.page.goto(f"/mailbox/messages/{message.id}/html")
    await expect(ann.page.locator("#seen")).to_be_visible()

    assert await ann.page.evaluate("window.pwned") is None
    assert await ann.page.evaluate("window.origin") == "null"
    assert elsewhere.visits == []
