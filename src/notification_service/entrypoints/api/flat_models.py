"""What the flat profile sends and gets."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, RootModel, WithJsonSchema

from notification_service.domain.channels import (
    Channel,
    EmailChannel,
    PhoneNumber,
    PushChannel,
    SmsChannel,
    Title,
    WebhookChannel,
    recipient,
    stored_channel,
)
from notification_service.domain.notification import Draft, Notification, Status
from notification_service.domain.text import without_nul
from notification_service.entrypoints.api.fields import (
    Line,
    LongMessageBody,
    Recipient,
    ShortAddress,
    ShortWebUrl,
)
from notification_service.entrypoints.api.requests import Body

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


class _FlatBody(Body):
    body: LongMessageBody
    metadata: FlatMetadata = Field(default_factory=dict)


class FlatEmail(_FlatBody):
    """An email."""

    channel: Literal["email"]
    recipient: ShortAddress
    subject: Title

    def address(self) -> Channel:
        """Where it goes."""
        return EmailChannel.model_construct(to=self.recipient, subject=self.subject)


class FlatSms(_FlatBody):
    """A text message; a subject has no place in it and is left out."""

    channel: Literal["sms"]
    recipient: PhoneNumber
    subject: Line | None = None

    def address(self) -> Channel:
        """Where it goes."""
        return SmsChannel.model_construct(phone_number=self.recipient)


class FlatPush(_FlatBody):
    """A push notification; the subject is its title. There is no rule for the form of a device's name."""

    channel: Literal["push"]
    recipient: Recipient
    subject: Line | None = None

    def address(self) -> Channel:
        """Where it goes."""
        return PushChannel.model_construct(device_token=self.recipient, title=self.subject or None)


class FlatWebhook(_FlatBody):
    """A signed POST; a subject has no place in it and is left out."""

    channel: Literal["webhook"]
    recipient: ShortWebUrl
    subject: Line | None = None

    def address(self) -> Channel:
        """Where it goes."""
        return WebhookChannel.model_construct(url=self.recipient)


class FlatRequest(
    RootModel[Annotated[FlatEmail | FlatSms | FlatPush | FlatWebhook, Field(discriminator="channel")]]
):
    """A notification to the caller itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    def draft(self, user_id: str) -> Draft:
        """Return what is to be sent."""
        wanted = self.root
        return Draft(
            user_id=user_id,
            channel=wanted.address().model_dump(),
            body=wanted.body,
            metadata=wanted.metadata,
        )


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
