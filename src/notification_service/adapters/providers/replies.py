"""What may be quoted of a provider's reply."""

import re

from notification_service.domain.channels import recipient
from notification_service.domain.notification import Message

LONGEST_EXCERPT = 200
WITHHELD = "(withheld: it repeats the message)"

_READ = 4096
_REPEATED_RUN = 12
_SHORTEST_SECRET = 4


def excerpt(reply: str, message: Message) -> str:
    """Return the printable beginning of a reply, without the receiver's address and the message's text.

    A provider may echo what it was sent, and an excerpt ends up in histories and problem reports: addresses
    are blanked, and a reply that repeats a piece of the body is withheld altogether.
    """
    line = _one_line(reply[:_READ])
    for private in _addresses(message):
        line = re.sub(re.escape(private), "…", line, flags=re.IGNORECASE)
    line = line[:LONGEST_EXCERPT]
    return WITHHELD if _repeats(line, message.body) else line


def _one_line(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())


def _addresses(message: Message) -> list[str]:
    """Return what names the receiver, the longest first: a URL may be echoed whole or by its path alone."""
    address = recipient(message.channel) or ""
    parts = [address, message.user_id, *re.split(r"[/?#&=]+", address.partition("://")[2])]
    return sorted((part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True)


def _repeats(line: str, body: str) -> bool:
    text = _one_line(body)
    if len(text) <= _REPEATED_RUN:
        return text in line
    runs = range(len(line) - _REPEATED_RUN + 1)
    return any(line[start : start + _REPEATED_RUN] in text for start in runs)
