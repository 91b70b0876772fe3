"""The mailbox in a browser: live, searchable, by keyboard and on a phone."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from notification_service.domain.people import Role
from tests.web.site import Site, Visitor, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


async def test_the_link_leads_into_the_mailbox(ann: Visitor) -> None:
    """The secret stays in no address and no history."""
    await expect(ann.page).to_have_url(f"{ann.site.url}/mailbox")
    await expect(ann.page).to_have_title("Mailbox")


async def test_an_empty_mailbox_says_how_to_fill_it(ann: Visitor) -> None:
    """With a command that names this service and this person, and holds no token."""
    welcome = ann.page.locator("#welcome")

    await expect(welcome).to_contain_text(f"curl {ann.site.url}/v1/notifications")
    await expect(welcome).to_contain_text(f'"user_id": "{ann.user}"')
    await expect(welcome).to_contain_text("Bearer $TOKEN")
    assert "eyJ" not in await ann.page.content()


@pytest.mark.parametrize(
    ("channel", "shown", "view"),
    [
        ({"type": "email", "to": "ann@example.com", "subject": "Live"}, "ann@example.com", ".letter"),
        ({"type": "sms", "phone_number": "+4915112345678"}, "+4915112345678", ".bubble"),
        ({"type": "push", "device_token": "token", "title": "Live"}, "token", ".push-card"),
    ],
)
async def test_what_is_sent_appears_by_itself(
    ann: Visitor, channel: dict[str, str], shown: str, view: str
) -> None:
    """From the API through the worker to the page, and then as its receiver would see it."""
    await ann.site.send(ann.user, channel, "Something to read")

    row = ann.row(shown)
    await expect(row).to_be_visible()
    await expect(row.locator(".state")).to_have_text("Sent")
    await expect(ann.page.locator("#announcement")).to_contain_text(f"to {shown}")
    await expect(ann.page).to_have_title("(1) Mailbox")
    await row.click()
    await expect(ann.page.locator(view)).to_contain_text("Something to read")
    await expect(ann.page).to_have_title("Mailbox")


async def test_a_lost_connection_is_said_and_made_up_for(ann: Visitor) -> None:
    """Restarts and sleeping laptops are everyday life."""
    await ann.page.context.set_offline(True)
    await expect(ann.page.locator("#connection")).to_have_text("Reconnecting")
    ann.may_complain = True  # the browser notes that it is offline

    await ann.put(subject="Meanwhile")
    await ann.page.context.set_offline(False)

    await expect(ann.row("Meanwhile")).to_be_visible()
    await expect(ann.page.locator("#connection")).to_have_text("Live")


async def test_an_ended_session_leads_to_the_sign_in_page(ann: Visitor) -> None:
    """The page that is left open shows nothing new to whoever sits down next."""
    ann.may_complain = True  # the browser notes the 401
    await ann.page.context.clear_cookies()

    await expect(ann.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_search_narrows_the_list_and_survives_a_reload(ann: Visitor) -> None:
    """Part of the address, the subject or the text, in any case."""
    await ann.put(subject="Invoice")
    await ann.put(subject="Parcel", to="ben@example.com")
    await ann.put(subject="Code", text="100% of an INVOICE")
    await expect(ann.page.locator(".row")).to_have_count(3)

    await ann.page.fill("#search", "invoice")
    await expect(ann.page.locator(".row")).to_have_count(2)
    await ann.page.reload()
    await expect(ann.page.locator(".row")).to_have_count(2)
    await ann.page.fill("#search", "nothing like it")
    await expect(ann.page.locator("#nothing")).to_contain_text("No message matches.")
    await ann.page.click("#show-all")

    await expect(ann.page.locator(".row")).to_have_count(3)


async def test_a_channel_narrows_the_list_and_stays_live(ann: Visitor) -> None:
    """What comes in for another channel stays out."""
    await ann.put(subject="A letter")
    await ann.page.get_by_role("button", name="SMS").click()
    await expect(ann.page.locator("#nothing")).to_be_visible()

    await ann.put(subject="Another letter")
    await ann.put(channel="sms", to="+4915112345678", subject=None, text="A text")

    await expect(ann.row("A text")).to_be_visible()
    await expect(ann.page.locator(".row")).to_have_count(1)


async def test_new_messages_leave_alone_what_somebody_reads(ann: Visitor) -> None:
    """Neither the opened message nor the selection nor the keyboard's place moves."""
    await ann.put(subject="First")
    await ann.row("First").click()

    await ann.put(subject="Second")
    await expect(ann.row("Second")).to_be_visible()

    await expect(ann.page.locator(".head h1")).to_have_text("First")
    await expect(ann.row("First")).to_have_attribute("aria-selected", "true")
    assert await ann.titles() == ["Second", "First"]


async def test_older_messages_are_a_button_away(ann: Visitor) -> None:
    """The page reads fifty at a time and stays in order when new ones come."""
    for number in range(60):
        await ann.put(subject=f"Number {number}")
    await expect(ann.row("Number 59")).to_be_visible()
    await ann.page.reload()

    await ann.page.click("#more")
    await expect(ann.page.locator(".row")).to_have_count(60)
    await ann.put(subject="Number 60")
    await expect(ann.page.locator(".row")).to_have_count(61)

    assert await ann.titles() == [f"Number {number}" for number in range(60, -1, -1)]
    await expect(ann.page.locator("#more")).to_be_hidden()


async def test_more_than_a_page_at_once_leaves_no_gap(ann: Visitor) -> None:
    """What was read before is dropped rather than shown as if it came next."""
    await ann.put(subject="Before")
    await expect(ann.row("Before")).to_be_visible()
    await ann.page.context.set_offline(True)
    ann.may_complain = True

    for number in range(70):
        await ann.put(subject=f"Number {number}")
    await ann.page.context.set_offline(False)
    await expect(ann.row("Number 69")).to_be_visible()

    assert (await ann.titles()) == [f"Number {number}" for number in range(69, 19, -1)]
    await ann.page.click("#more")
    await expect(ann.row("Before")).to_be_visible()


async def test_the_keyboard_is_enough(ann: Visitor) -> None:
    """Move, open, read on, close, search: no mouse anywhere."""
    for subject in ("Third", "Second", "First"):
        await ann.put(subject=subject)
    await expect(ann.page.locator(".row")).to_have_count(3)
    keyboard, title = ann.page.keyboard, ann.page.locator(".head h1")

    await keyboard.press("Tab")
    await expect(ann.page.locator(".skip")).to_be_focused()
    await keyboard.press("Enter")
    await keyboard.press("j")
    await expect(ann.row("First")).to_be_focused()
    await keyboard.press("ArrowDown")
    await expect(ann.row("Second")).to_be_focused()
    await keyboard.press("Enter")
    await expect(title).to_have_text("Second")
    await keyboard.press("j")
    await expect(title).to_have_text("Third")
    await keyboard.press("k")
    await expect(title).to_have_text("Second")
    await keyboard.press("Tab")
    await keyboard.press("ArrowRight")
    await expect(ann.page.locator("#tab-Delivery")).to_be_focused()
    await keyboard.press("Escape")
    await expect(title).to_be_hidden()
    await expect(ann.row("Second")).to_be_focused()
    await keyboard.press("/")
    await keyboard.type("thi")
    await expect(ann.page.locator(".row")).to_have_count(1)
    await keyboard.press("Escape")
    await expect(ann.page.locator(".row")).to_have_count(3)


async def test_back_closes_the_message_and_its_address_opens_it_again(ann: Visitor) -> None:
    """A message can be bookmarked."""
    message = await ann.put(subject="Bookmarked")
    await ann.row("Bookmarked").click()
    await expect(ann.page).to_have_url(re.compile(f"message={message.id}"))

    await ann.page.go_back()
    await expect(ann.page.locator("#opened")).to_be_hidden()
    await ann.page.go_forward()
    await expect(ann.page.locator(".head h1")).to_have_text("Bookmarked")
    await ann.page.reload()

    await expect(ann.page.locator(".head h1")).to_have_text("Bookmarked")


async def test_a_message_tells_its_headers_and_its_notification(ann: Visitor) -> None:
    """The resource is the API's own, ready to be copied."""
    await ann.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    channel = {"type": "email", "to": "ann@example.com", "subject": "Hello"}
    await ann.site.send(ann.user, channel, "The body")
    await ann.row("Hello").click()

    await ann.page.click("#tab-Headers")
    await expect(ann.page.locator(".headers")).to_contain_text("Message-ID")
    await ann.page.click("#tab-JSON")
    await ann.page.click(".panel .copy")
    await expect(ann.page.locator("#announcement")).to_have_text("Copied")

    copied = await ann.page.evaluate("async () => JSON.parse(await navigator.clipboard.readText())")
    assert (copied["user_id"], copied["channel"], copied["body"]) == (ann.user, channel, "The body")


async def test_the_timeline_says_what_happened_and_why_it_goes_on(ann: Visitor) -> None:
    """An attempt that failed is told with its error and the time of the next one."""
    await ann.site.send(ann.user, {"type": "email", "to": "ann@example.com", "subject": "Retried"}, "x")
    await expect(ann.row("Retried").locator(".state")).to_have_text("Sent")
    await ann.page.route(re.compile(r"/mailbox/messages/[^/?]+$"), _add_a_failed_attempt)

    await ann.row("Retried").click()
    await ann.page.click("#tab-Delivery")

    timeline = ann.page.locator(".timeline")
    await expect(timeline.locator("li")).to_have_count(3)
    await expect(timeline).to_contain_text("Attempt 1 · by mailbox")
    await expect(timeline).to_contain_text("Failed for now")
    await expect(timeline).to_contain_text("http_503")
    await expect(timeline).to_contain_text("The error may pass: tries again in 1h")


async def _add_a_failed_attempt(route: Route) -> None:
    response = await route.fetch()
    detail = await response.json()
    next_attempt_at = datetime.now(UTC) + timedelta(seconds=95 * 60)
    failed = {"number": 2, "outcome": "transient_error", "error_code": "http_503", "detail": "try later"}
    failed["next_attempt_at"] = next_attempt_at.isoformat()
    detail["attempts"].append(detail["attempts"][0] | failed)
    await route.fulfill(json=detail)


async def test_clearing_asks_first_and_leaves_an_empty_mailbox(ann: Visitor) -> None:
    """A slip of the finger deletes nothing."""
    await ann.put(subject="Doomed")
    await expect(ann.row("Doomed")).to_be_visible()

    await ann.page.click("#ask-clear")
    await ann.page.keyboard.press("Escape")
    await expect(ann.row("Doomed")).to_be_visible()
    await ann.page.click("#ask-clear")
    await ann.page.get_by_role("button", name="Delete all", exact=True).click()

    await expect(ann.page.locator("#welcome")).to_be_visible()
    await expect(ann.page.locator(".row")).to_have_count(0)


async def test_one_persons_messages_stay_out_of_anothers_window(site: Site, browser: Browser) -> None:
    """An administrator, however, sees everybody's arrive."""
    async with visiting(site, browser) as ben, visiting(site, browser) as root:
        await ben.sign_in()
        await root.sign_in(Role.ADMIN)

        await site.put("somebody-else", subject="Not for Ben")
        await expect(root.row("Not for Ben").first).to_be_visible()
        await ben.put(subject="For Ben")

        await expect(ben.row("For Ben")).to_be_visible()
        await expect(ben.row("Not for Ben")).to_have_count(0)


async def test_on_a_phone_there_is_one_pane_at_a_time(site: Site, browser: Browser) -> None:
    """The list, then the message in its place, then Back; nothing runs off the side."""
    async with visiting(site, browser, **PHONE) as ann:
        await ann.sign_in()
        await ann.put(subject="A subject that is much too long for the small window it is shown in" * 3)
        row, message = ann.row("A subject"), ann.page.locator("#message")
        await row.tap()

        await expect(message).to_be_visible()
        await expect(row).to_be_hidden()
        width = await ann.page.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE["viewport"]["width"]
        await ann.page.tap(".back")

        await expect(row).to_be_visible()
        await expect(message).to_be_hidden()


async def test_signing_out_is_one_click(ann: Visitor) -> None:
    """And the Back button brings nothing back."""
    await ann.page.get_by_role("button", name="Sign out").click()
    await expect(ann.page.get_by_role("heading", name="Sign in")).to_be_visible()

    await ann.page.go_back()

    await expect(ann.page.get_by_role("heading", name="Sign in")).to_be_visible()
