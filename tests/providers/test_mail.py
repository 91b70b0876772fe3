from email.headerregistry import Address
from uuid import UUID

import pytest

from notification_service.adapters.providers.mail import compose, mail_address
from tests.providers.messages import BODY, NOW, email, message

SAME = UUID("0199d9d0-0000-7000-8000-000000000001")
SENDER = mail_address("The Shop <no-reply@example.com>")


def test_html_stands_beside_the_text() -> None:
    """The reader's program shows the last part that it can (RFC 2046, 5.1.4)."""
    html = "<p>Grüße &amp; Küsse</p>"

    mail = compose(message(email()), email(), sender=SENDER, date=NOW, html=html)

    assert mail.get_content_type() == "multipart/alternative"
    text, rich = mail.iter_parts()
    assert (text.get_content_type(), text.get_content()) == ("text/plain", BODY + "\n")
    assert (rich.get_content_type(), rich.get_content()) == ("text/html", html + "\n")
    assert mail.as_bytes().isascii()


def test_without_html_the_text_stands_alone() -> None:
    """No empty alternative."""
    mail = compose(message(email()), email(), sender=SENDER, date=NOW)

    assert mail.get_content_type() == "text/plain"


def test_every_attempt_has_the_same_message_id() -> None:
    """Whoever gets it twice can tell."""
    first, second = (message(email(), attempt=attempt, notification_id=SAME) for attempt in (1, 2))

    ids = {compose(sent, email(), sender=SENDER, date=NOW)["Message-ID"] for sent in (first, second)}

    assert ids == {f"<{SAME}@example.com>"}


def test_long_lines_are_folded_for_the_wire() -> None:
    """No server need take a line of more than 998 characters (RFC 5321, 4.5.3.1.6)."""
    long = message(email(subject="Grüße " * 33), body="x" * 5000 + " ü" * 3000)

    mail = compose(long, email(subject="Grüße " * 33), sender=SENDER, date=NOW)

    assert max(len(line) for line in mail.as_bytes().splitlines()) <= 998


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ann@example.com", Address("", "ann", "example.com")),
        ("Ann <ann@example.com>", Address("Ann", "ann", "example.com")),
        ('"Shop, The" <a.b+c@example.com>', Address("Shop, The", "a.b+c", "example.com")),
        ("ann@localhost", Address("", "ann", "localhost")),
        ("Änn <ann@bücher.example>", Address("Änn", "ann", "xn--bcher-kva.example")),
    ],
)
def test_an_address_is_taken_apart(text: str, address: Address) -> None:
    """With or without a name."""
    assert mail_address(text) == address
