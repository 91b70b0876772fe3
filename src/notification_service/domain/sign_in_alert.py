"""The email that tells a person about a sign-in to its account."""

from typing import Any

from notification_service.domain.channels import email_address
from notification_service.domain.events import UnreadableEventError
from notification_service.domain.notification import Draft

SUBJECT = "New sign-in to your account"
TEXT = """\
Hello {name},

somebody has just signed in to your account. If that was you, there is nothing to do.
If it wasn't, change your password now and tell us.
"""
LONGEST_ADDRESS, LONGEST_NAME = 255, 200


def sign_in_alert(*, email: Any, name: Any) -> Draft:
    """Return the alert for the person; raises `UnreadableEventError` unless both are usable texts."""
    if not isinstance(email, str) or len(email) > LONGEST_ADDRESS:
        raise UnreadableEventError("'email' is no email address")
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not name.isprintable():
        raise UnreadableEventError(f"'name' is no line of at most {LONGEST_NAME} characters")
    try:
        address = email_address(email)
    except ValueError:
        raise UnreadableEventError("'email' is no email address") from None
    return Draft(
        user_id=address,
        channel={"type": "email", "to": address, "subject": SUBJECT},
        body=TEXT.format(name=name.strip() or "there"),
        category="sign_in",
    )
