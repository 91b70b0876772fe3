"""The looks: light and dark, readable, calm where asked for, and named for those who listen."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from tests.web.site import Site, Visitor, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
GROUND = "getComputedStyle(document.body).backgroundColor"
type Scheme = Literal["light", "dark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read(site: Site, browser: Browser, scheme: Scheme) -> None:
    """WCAG AA for all text: the sign-in page, the empty mailbox, the list and every tab."""
    async with visiting(site, browser, color_scheme=scheme, reduced_motion="reduce") as ann:
        await ann.page.goto("/")
        assert await ann.page.evaluate(CONTRAST) == []
        await ann.sign_in()
        assert await ann.page.evaluate(CONTRAST) == []
        await _fill(ann)

        for row in await ann.page.locator(".row").all():
            await row.click()
            title = await row.locator(".to").text_content() or ""
            await expect(ann.page.locator(".head .titles")).to_contain_text(title)
            for tab in await ann.page.get_by_role("tab").all():
                await tab.click()
                assert await ann.page.evaluate(CONTRAST) == []


async def _fill(ann: Visitor) -> None:
    await ann.site.send(ann.user, {"type": "email", "to": "ann@example.com", "subject": "Real"}, "text")
    await ann.put(subject="Lost")
    await ann.put(channel="sms", to="+4915112345678", subject=None)
    await ann.put(channel="push", to="token")
    await ann.put(channel="webhook", to="https://example.com", text='{"a": 1}')
    await expect(ann.row("Real").locator(".state")).to_have_text("Sent")
    await expect(ann.page.locator(".row")).to_have_count(5)


async def test_the_system_decides_between_light_and_dark_until_somebody_does(ann: Visitor) -> None:
    """The choice outlives a reload."""
    await ann.page.emulate_media(color_scheme="dark")
    dark = await ann.page.evaluate(GROUND)
    await ann.page.emulate_media(color_scheme="light")
    light = await ann.page.evaluate(GROUND)
    assert dark != light

    await ann.page.click("#theme")
    assert await ann.page.evaluate(GROUND) == dark
    await ann.page.reload()

    assert await ann.page.evaluate(GROUND) == dark


async def test_nothing_moves_for_those_who_want_it_still(ann: Visitor) -> None:
    """The live light pulses for everybody else."""
    light = "getComputedStyle(document.querySelector('#connection'), '::before').animationName"
    assert await ann.page.evaluate(light) == "breathe"

    await ann.page.emulate_media(reduced_motion="reduce")

    assert await ann.page.evaluate(light) == "none"


async def test_everything_one_can_press_has_a_name(ann: Visitor) -> None:
    """Icons say nothing to a screen reader."""
    await ann.put(subject="Named")
    await ann.row("Named").click()
    await expect(ann.page.get_by_role("tab").first).to_be_visible()

    nameless = """() => [...document.querySelectorAll("button, a, input:not([type=hidden]), iframe")]
        .filter((each) => !(each.ariaLabel || each.title || each.textContent.trim()))
        .map((each) => each.outerHTML)"""

    assert await ann.page.evaluate(nameless) == []
    await expect(ann.page.get_by_role("listbox", name="Messages, newest first")).to_be_visible()
    await expect(ann.page.get_by_role("option", selected=True)).to_have_count(1)
    await expect(ann.page.get_by_role("tabpanel", name="Preview")).to_be_visible()


async def test_a_focused_row_can_be_seen(ann: Visitor) -> None:
    """Whoever uses the keyboard has to know where they are."""
    await ann.put(subject="Focused")
    await expect(ann.row("Focused")).to_be_visible()

    await ann.page.keyboard.press("j")

    await expect(ann.row("Focused")).to_have_css("outline-style", "solid")
