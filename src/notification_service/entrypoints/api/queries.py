"""What callers may ask for in a query string."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request

from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import Reason, Status
from notification_service.entrypoints.api.bodies import parse_pairs
from notification_service.entrypoints.api.fields import (
    Flag,
    Identifier,
    Instant,
    SearchText,
    UserId,
    digits,
    path_id,
)
from notification_service.entrypoints.api.validation import validated

MOST_PARAMETERS = 20


class Query(BaseModel):
    """The parameters of one address: each known and given once; no kind of value here may be empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """No parameters at all."""


class CursorQuery(Query):
    """A page of a list which is read on with a cursor."""

    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 20
    cursor: Annotated[SearchText, Field(description="`next_cursor` of the page before")] | None = None


class NotificationQuery(CursorQuery):
    """Which notifications to list."""

    status: Status | None = None
    channel: ChannelType | None = None
    user_id: UserId | None = None
    created_after: Instant | None = Field(default=None, description="Inclusive; with a zone")
    created_before: Instant | None = Field(default=None, description="Inclusive; with a zone")
    reference: Annotated[SearchText, Field(max_length=255)] | None = None


class DeadLetterQuery(CursorQuery):
    """Which dead letters to list."""

    reason: Reason | None = None
    channel: ChannelType | None = None
    since: Instant | None = None
    until: Instant | None = None
    redriven: Flag = False


class MailboxSelection(Query):
    """Which messages of the mailbox."""

    to: SearchText | None = None
    channel: ChannelType | None = None
    notification_id: Identifier | None = None
    since: Instant | None = None


class MailboxQuery(MailboxSelection, CursorQuery):
    """Which messages of the mailbox to list."""


class FlatQuery(Query):
    """Which notifications the flat profile lists; an empty `status` is no filter."""

    status: Literal["pending", "sent", "delivered", "failed", ""] | None = None
    page: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(digits)] = 1
    per_page: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 20


def read_query[Parameters: Query](request: Request, model: type[Parameters]) -> Parameters:
    """Return the request's parameters; raises `InvalidInputError`."""
    given: bytes = request.scope["query_string"]
    parameters = parse_pairs(given, most=MOST_PARAMETERS) if given else {}
    return validated(model, parameters)


def refuse_query(request: Request) -> None:
    """Raise `InvalidInputError` when an address that knows no parameters got some."""
    if request.scope["query_string"]:
        read_query(request, NoQuery)


def request_uuid(request: Request) -> UUID:
    """Return the id in the path of an address without parameters; raises `InvalidInputError`."""
    refuse_query(request)
    return path_id(request.path_params["id"])
