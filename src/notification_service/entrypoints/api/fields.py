"""Kinds of values that cross the wire in several places."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from notification_service.domain.channels import WEB_URL, email_address, web_url
from notification_service.domain.errors import InvalidInputError
from notification_service.domain.text import ONE_LINE, WITHOUT_NUL, single_line, without_nul

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

MOST_METADATA_ENTRIES = 50
LONGEST_METADATA_KEY = 64
LONGEST_METADATA_VALUE = 1024


def instant(value: object) -> datetime:
    """Read an RFC 3339 time, whose zone is required, as UTC."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time with a zone, for instance 2030-01-31T09:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time that exists") from None


def identifier(value: object) -> UUID:
    """Read an id in the one form in which ids are written."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("must be a UUID")
    return UUID(value)


def path_id(value: str) -> UUID:
    """Read the id in a path; raises `InvalidInputError`."""
    try:
        return identifier(value)
    except ValueError as error:
        raise InvalidInputError({"id": str(error)}) from None


def whole(value: object) -> object:
    """JSON knows one kind of number: 5.0 is 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digits(value: object) -> object:
    """A number in a query is written in plain digits."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return int(value)


def _flag(value: object) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("must be an object whose values are strings")
    if len(value) > MOST_METADATA_ENTRIES:
        raise ValueError(f"must have at most {MOST_METADATA_ENTRIES} entries")
    for key, text in value.items():
        if len(key) > LONGEST_METADATA_KEY:
            raise ValueError(f"keys must have at most {LONGEST_METADATA_KEY} characters")
        if len(text) > LONGEST_METADATA_VALUE:
            raise ValueError(f"values must have at most {LONGEST_METADATA_VALUE} characters")
        without_nul(key + text)
    return value


_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_METADATA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MOST_METADATA_ENTRIES,
    "propertyNames": {"maxLength": LONGEST_METADATA_KEY, "pattern": WITHOUT_NUL},
    "additionalProperties": {
        "type": "string",
        "maxLength": LONGEST_METADATA_VALUE,
        "pattern": WITHOUT_NUL,
    },
    "examples": [{"order": "1042"}],
}
_PLAIN: dict[str, Any] = {"pattern": WITHOUT_NUL}
_LINE: dict[str, Any] = {"pattern": ONE_LINE}

type Instant = Annotated[datetime, PlainValidator(instant), WithJsonSchema(_TIME)]
type Identifier = Annotated[
    UUID, PlainValidator(identifier), WithJsonSchema({"type": "string", "format": "uuid"})
]
type Metadata = Annotated[dict[str, str], PlainValidator(_metadata), WithJsonSchema(_METADATA)]
type Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]

# Lengths stand before our own functions: so they are checked first, and the reference shows them.
type UserId = Annotated[
    str, Field(min_length=1, max_length=255, json_schema_extra=_PLAIN), AfterValidator(without_nul)
]
type MessageBody = Annotated[
    str, Field(min_length=1, max_length=4_000, json_schema_extra=_PLAIN), AfterValidator(without_nul)
]
type LongMessageBody = Annotated[
    str, Field(min_length=1, max_length=10_000, json_schema_extra=_PLAIN), AfterValidator(without_nul)
]
type Category = Annotated[str, Field(max_length=64, json_schema_extra=_PLAIN), AfterValidator(without_nul)]
type Reference = Annotated[str, Field(max_length=255, json_schema_extra=_PLAIN), AfterValidator(without_nul)]
type Password = Annotated[
    str, Field(min_length=1, max_length=1_024, json_schema_extra=_PLAIN), AfterValidator(without_nul)
]
type SearchText = Annotated[
    str, Field(min_length=1, max_length=2_048, json_schema_extra=_PLAIN), AfterValidator(without_nul)
]
type Line = Annotated[str, Field(max_length=200, json_schema_extra=_LINE), AfterValidator(single_line)]
type Recipient = Annotated[
    str, Field(min_length=1, max_length=255, json_schema_extra=_LINE), AfterValidator(single_line)
]
type ShortAddress = Annotated[
    str, Field(max_length=255, json_schema_extra={"format": "email"}), AfterValidator(email_address)
]
type ShortWebUrl = Annotated[
    str,
    Field(max_length=255, json_schema_extra={"pattern": WEB_URL}),
    AfterValidator(web_url),
]
