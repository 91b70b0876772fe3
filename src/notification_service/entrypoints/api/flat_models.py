"""What the flat profile sends and gets."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from notification_service.domain.channels import (
    Channel,
    EmailChannel,
    PushChannel,
    SmsChannel,
    WebhookChannel,
    recipient,
    stored_channel,
)
from notification_service.domain.errors import InvalidInputError
from notification_service.domain.notification import Draft, Notification, Status
from notification_service.domain.text import SingleLine, Text, without_nul
from notification_service.entrypoints.api.requests import Body
from notification_service.entrypoints.api.validation import validated

type FlatChannel = Literal["email", "sms", "push", "webhook"]
type FlatStatus = Literal["pending", "sent", "delivered", "failed"]

LARGEST_METADATA = 16_384

STATUSES: dict[str, frozenset[Status]] = {
    "pending": frozenset({Status.PENDING, Status.QUEUED, Status.SENDING}),
    "sent": frozenset({Status.SENT}),
    "delivered": frozenset({Status.DELIVERED}),
    "failed": frozenset({Status.FAILED, Status.CANCELLED, Status.SUPPRESSED, Status.EXPIRED}),
}
FLAT_STATUS = {status: flat for flat, statuses in STATUSES.items() for status in statuses}


def _metadata(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")  # noqa: TRY004 - pydantic collects these alone
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise ValueError("holds a number that is too large") from None
    if len(written.encode()) > LARGEST_METADATA:
        raise ValueError("must have at most 16 KB")
    if "\\u0000" in written:
        _refuse_nul(value)
    return value


def _refuse_nul(value: Any) -> None:
    match value:
        case str():
            without_nul(value)
        case dict():
            for key, each in value.items():
                without_nul(key)
                _refuse_nul(each)
        case list():
            for each in value:
                _refuse_nul(each)


type FlatMetadata = Annotated[
    dict[str, Any],
    PlainValidator(_metadata),
    WithJsonSchema({"type": "object", "description": "Any JSON object of at most 16 KB"}),
]


EXAMPLE: dict[str, Any] = {
    "channel": "email",
    "recipient": "ann@example.com",
    "subject": "On its way",
    "body": "Your order arrives tomorrow.",
}


class FlatRequest(Body):
    """A notification to the caller's own address."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    channel: FlatChannel
    recipient: Annotated[SingleLine, Field(min_length=1, max_length=255)] = Field(
        description="Email: an address; SMS: a number in E.164 form; webhook: a URL; push: a device"
    )
    subject: Annotated[SingleLine, Field(max_length=200)] | None = Field(
        default=None, description="Required for email; a push notification's title"
    )
    body: Annotated[Text, Field(min_length=1, max_length=10_000)]
    metadata: FlatMetadata = Field(default_factory=dict)

    def draft(self, user_id: str) -> Draft:
        """Return what is to be sent; raises `InvalidInputError`."""
        return Draft(
            user_id=user_id,
            channel=self._address().model_dump(),
            body=self.body,
            metadata=self.metadata,
        )

    def _address(self) -> Channel:
        try:
            return self._channel()
        except InvalidInputError as error:
            names = {"to": "recipient", "phone_number": "recipient", "url": "recipient"}
            raise InvalidInputError(
                {names.get(at, at): text for at, text in error.problems.items()}
            ) from None

    def _channel(self) -> Channel:
        match self.channel:
            case "email":
                return validated(EmailChannel, {"to": self.recipient} | self._given_subject())
            case "sms":
                return validated(SmsChannel, {"phone_number": self.recipient})
            case "webhook":
                return validated(WebhookChannel, {"url": self.recipient})
            case "push":
                # This profile has no rule for devices: what its clients have always sent stays possible.
                return PushChannel.model_construct(device_token=self.recipient, title=self.subject or None)

    def _given_subject(self) -> dict[str, str]:
        return {} if self.subject is None else {"subject": self.subject}


class FlatAnswer(BaseModel):
    """A notification as this profile shows it."""

    id: UUID
    channel: str
    recipient: str
    status: FlatStatus
    sent_at: datetime | None
    created_at: datetime


class FlatPage(BaseModel):
    """A page of a numbered list, newest first."""

    data: list[FlatAnswer]
    total: int
    page: int
    per_page: int


def flat(row: Notification) -> dict[str, Any]:
    """Show a notification; the user is the recipient where the channel has none."""
    return {
        "id": row.id,
        "channel": row.channel_type,
        "recipient": recipient(stored_channel(row.channel)) or row.user_id,
        "status": FLAT_STATUS[row.status],
        "sent_at": row.sent_at,
        "created_at": row.created_at,
    }
