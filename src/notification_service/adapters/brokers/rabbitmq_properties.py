"""Reads messages whose properties the library can't.

RabbitMQ passes on whatever a producer wrote: a time in microseconds, a name in Latin-1, a delivery mode of 3.
pamqp raises for them, and its caller then drops the connection, to be handed the same message again on the
next one: one such message would stop a worker. So what can't be read counts as absent.
"""

from collections.abc import Callable
from struct import error as StructError  # noqa: N812 - an exception, called like a function

from pamqp.commands import Basic
from pamqp.header import ContentHeader

type Unmarshal = Callable[[ContentHeader, bytes], None]

UNREADABLE = (ValueError, OverflowError, OSError, TypeError, LookupError, StructError)


def read_what_can_be_read() -> None:
    """Teach the library; a second time changes nothing."""
    if ContentHeader.unmarshal is not _tolerant:
        ContentHeader.unmarshal = _tolerant  # type: ignore[method-assign]


def _tolerant(self: ContentHeader, data: bytes, strict: Unmarshal = ContentHeader.unmarshal) -> None:
    try:
        strict(self, data)
    except UNREADABLE:
        self.properties = Basic.Properties()  # the size, which stands before them, has been read
