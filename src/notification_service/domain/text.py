"""What a piece of text may contain before it goes into a database, a header or a page."""

import re
from typing import Annotated

from pydantic import AfterValidator

# What the functions below allow, as JSON Schema says it.
WITHOUT_NUL = "^[^\\u0000]*$"
ONE_LINE = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def without_nul(value: str) -> str:
    """Refuse NUL, which PostgreSQL cannot store, and lone surrogates, which are no text."""
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode text") from None
    return value


def single_line(value: str) -> str:
    """Refuse control characters and line breaks: such a value ends up in a header."""
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters or line breaks")
    return without_nul(value)


type Text = Annotated[str, AfterValidator(without_nul)]
type SingleLine = Annotated[str, AfterValidator(single_line)]
