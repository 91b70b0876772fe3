"""How a notification is written as an email."""

import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr

from email_validator import validate_email

from notification_service.adapters.providers.trail import trail_headers
from notification_service.domain.channels import EmailChannel
from notification_service.domain.notification import Message

# No quoting, brackets or separators: nothing that could end the address inside a header or a command.
_ADDRESS = re.compile(r'([^\s<>()\[\]\\,;:@"\x00-\x1f\x7f]+)@([^\s<>()\[\]\\,;:@"\x00-\x1f\x7f]+)')


def mail_address(text: str) -> Address:
    """Return `ann@example.com` or `Ann <ann@example.com>` taken apart, the domain in its ASCII form.

    Raises ValueError when it isn't one address; the error doesn't repeat it.
    """
    name, address = parseaddr(text)
    parts = _ADDRESS.fullmatch(_with_ascii_domain(address))
    if parts is None:
        raise ValueError("must be one email address, for instance Shop <no-reply@example.com>")
    return Address(name, *parts.groups())


def needs_smtputf8(*addresses: Address) -> bool:
    """Tell whether an address can travel only between servers that know SMTPUTF8 (RFC 6531)."""
    return not all(address.addr_spec.isascii() for address in addresses)


def message_id(message: Message, *, sender: Address) -> str:
    """Return the Message-ID, the same on every attempt."""
    return f"<{message.notification_id}@{sender.domain}>"


def compose(
    message: Message, channel: EmailChannel, *, sender: Address, date: datetime, html: str | None = None
) -> EmailMessage:
    """Write the message as an email: its body as plain text and, where there is one, `html` beside it.

    The result is 7-bit (an address in UTF-8 apart), so any server can take it. Raises ValueError when an
    address or the subject can't stand in a header.
    """
    receiver = mail_address(channel.to)
    policy = SMTPUTF8 if needs_smtputf8(sender, receiver) else SMTP
    mail = EmailMessage(policy.clone(cte_type="7bit"))
    mail["From"] = sender
    mail["To"] = receiver
    mail["Subject"] = channel.subject
    mail["Date"] = date
    mail["Message-ID"] = message_id(message, sender=sender)
    # RFC 3834: keeps holiday replies and their loops away.
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in trail_headers(message).items():
        mail[name] = value
    mail.set_content(message.body)
    if html is not None:
        mail.add_alternative(html, subtype="html")
    return mail


def _with_ascii_domain(address: str) -> str:
    """Write a domain like bücher.example as DNS knows it; a local part beyond ASCII stays as it is."""
    if address.isascii():
        return address
    parts = validate_email(address, check_deliverability=False)
    return parts.ascii_email or f"{parts.local_part}@{parts.ascii_domain}"
