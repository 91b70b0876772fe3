"""What callers of the native profile send."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from notification_service.domain.channels import (
    ChannelType,
    EmailChannel,
    PushChannel,
    SmsChannel,
    Title,
    WebhookChannel,
)
from notification_service.domain.errors import InvalidInputError
from notification_service.domain.notification import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    Draft,
    Reason,
)
from notification_service.entrypoints.api.fields import (
    Category,
    Instant,
    MessageBody,
    Metadata,
    Reference,
    UserId,
    whole,
)

FURTHEST_SCHEDULE = timedelta(days=366)
MOST_BULK_ITEMS = 1_000
MOST_REDRIVEN, USUALLY_REDRIVEN = 10_000, 1_000
LATER = "arrives with a later release; leave it out"


def _later(value: object) -> None:
    if value is not None:
        raise ValueError(LATER)


def _never_dry(value: object) -> bool:
    if value is not False:
        raise ValueError(LATER)
    return value


type Later = Annotated[None, PlainValidator(_later), WithJsonSchema({"type": "null", "description": LATER})]
type NeverDry = Annotated[
    bool, PlainValidator(_never_dry), WithJsonSchema({"const": False, "description": LATER})
]


class Body(BaseModel):
    """A JSON body: every field is known and has exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PushRequestChannel(PushChannel):
    """A push notification to one device."""

    title: Title


type RequestChannel = Annotated[
    EmailChannel | SmsChannel | PushRequestChannel | WebhookChannel, Field(discriminator="type")
]


EXAMPLE: dict[str, Any] = {
    "user_id": "ann",
    "channel": {"type": "email", "to": "ann@example.com", "subject": "On its way"},
    "body": "Your order arrives tomorrow.",
    "metadata": {"order": "1042"},
}


class NotificationRequest(Body):
    """One notification to send."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    user_id: UserId = Field(description="The receiver. A user names itself; an administrator anyone.")
    channel: RequestChannel
    body: MessageBody
    metadata: Metadata = Field(default_factory=dict)
    scheduled_for: Instant | None = Field(
        default=None, description="At most a year ahead; the past means now"
    )
    expires_at: Instant | None = Field(default=None, description="After both now and `scheduled_for`")
    priority: Annotated[int, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY), BeforeValidator(whole)] = (
        DEFAULT_PRIORITY
    )
    category: Category | None = None
    reference: Reference | None = Field(default=None, description="The caller's own id; need not be unique")
    template: Later = None
    variables: Later = None
    fallbacks: Later = None
    dry_run: NeverDry = False

    def draft(self, *, now: datetime) -> Draft:
        """Return what is to be sent; raises `InvalidInputError` when its times don't fit `now`."""
        self._require_possible_times(now)
        return Draft(
            user_id=self.user_id,
            channel=self.channel.model_dump(),
            body=self.body,
            metadata=self.metadata,
            scheduled_for=self.scheduled_for,
            expires_at=self.expires_at,
            priority=self.priority,
            category=self.category,
            reference=self.reference,
        )

    def _require_possible_times(self, now: datetime) -> None:
        starts = max(self.scheduled_for or now, now)
        if starts > now + FURTHEST_SCHEDULE:
            raise InvalidInputError({"scheduled_for": "must be at most 366 days ahead"})
        if self.expires_at and self.expires_at <= starts:
            raise InvalidInputError({"expires_at": "must be after both now and scheduled_for"})


class BulkRequest(Body):
    """Many notifications; each is judged on its own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notifications": [EXAMPLE]}]})

    notifications: Annotated[list[Any], Field(min_length=1, max_length=MOST_BULK_ITEMS)] = Field(
        description="Each like the body of `POST /v1/notifications`; one that isn't is rejected alone"
    )


class RedriveRequest(Body):
    """Which dead letters to redrive; what is left out doesn't narrow."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channel": "email", "limit": 100}]})

    reason: Annotated[Reason, Field(strict=False)] | None = None
    channel: ChannelType | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_REDRIVEN), BeforeValidator(whole)] = USUALLY_REDRIVEN
