import pytest

from notification_service.adapters.providers.replies import WITHHELD, excerpt
from notification_service.domain.channels import AnyChannel, SmsChannel, WebhookChannel
from tests.providers.messages import BODY, email, message

HOOK = WebhookChannel(url="https://hooks.example.com/services/T0AB/secret-token?key=value-1")


@pytest.mark.parametrize(
    ("channel", "reply", "shown"),
    [
        (email(), "5.1.1 <ann@example.com>: unknown", "5.1.1 <…>: unknown"),
        (email(), "5.1.1 <Ann@Example.COM>: unknown", "5.1.1 <…>: unknown"),
        (SmsChannel(phone_number="+4915112345678"), "to=+4915112345678 blocked", "to=… blocked"),
        (HOOK, f"no route to {HOOK.url}", "no route to …"),
        (HOOK, "Cannot POST /services/T0AB/secret-token", "Cannot POST /…/…/…"),
        (HOOK, "user-4242 is unknown", "… is unknown"),
        (email(), "a\x1b[1mb\x00c\r\n\td\u2028e\u202ef", "a [1mb c d e f"),
        (email(), "", ""),
    ],
)
def test_a_reply_is_quoted_without_the_receivers_address(channel: AnyChannel, reply: str, shown: str) -> None:
    """On one line that any terminal can show."""
    assert excerpt(reply, message(channel)) == shown


@pytest.mark.parametrize("echo", [BODY, BODY[10:30], f"you sent: {BODY[:15]}", BODY.replace(" ", "\n")])
def test_a_reply_that_repeats_the_body_is_withheld(echo: str) -> None:
    """Even a piece of it."""
    assert excerpt(f"rejected: {echo}", message(email())) == WITHHELD


def test_a_short_body_is_withheld_too() -> None:
    """A code of six digits is the very thing to keep."""
    assert excerpt("rejected: 471108", message(email(), body="471108")) == WITHHELD


def test_an_address_at_the_edge_is_not_half_shown() -> None:
    """The cut comes after the blanking."""
    shown = excerpt("x" * 190 + " ann@example.com unknown", message(email()))

    assert "ann" not in shown
    assert len(shown) == 200
