"""The ways a person or a program can be reached, told apart by `type`."""

import re
from functools import lru_cache
from typing import Annotated, Any, Literal, assert_never
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from notification_service.domain.text import ONE_LINE, single_line

type ChannelType = Literal["email", "sms", "push", "webhook", "chat", "in_app"]

CHANNEL_TYPES: tuple[ChannelType, ...] = ("email", "sms", "push", "webhook", "chat", "in_app")

PHONE_NUMBER = r"^\+[1-9][0-9]{6,14}$"
WEB_URL = r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\]+([/?#][^\s\\]*)?$"


@lru_cache(maxsize=10_000)  # the costliest step of accepting an email, and people get more than one
def email_address(value: str) -> str:
    """Return `value` unchanged when it is one address by its syntax; no DNS is asked."""
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError:
        raise ValueError("must be one email address, for instance ann@example.com") from None
    return value


def web_url(value: str) -> str:
    """Return `value` unchanged when it is an absolute http(s) URL without credentials or spaces."""
    if not re.match(WEB_URL, single_line(value)) or not _has_host(value):
        raise ValueError("must be an absolute http or https URL without credentials")
    return value


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that don't close, a port beyond 65535
        return False


# Lengths stand before our own functions, so that they are checked first; `json_schema_extra` describes to
# others what those functions check.
type EmailAddress = Annotated[
    str, Field(max_length=320, json_schema_extra={"format": "email"}), AfterValidator(email_address)
]
type PhoneNumber = Annotated[str, StringConstraints(pattern=PHONE_NUMBER)]
type DeviceToken = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,4096}$")]
type Title = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": ONE_LINE}),
    AfterValidator(single_line),
]
type Url = Annotated[
    str, Field(max_length=2048, json_schema_extra={"pattern": ONE_LINE}), AfterValidator(single_line)
]
type WebUrl = Annotated[
    str, Field(max_length=2048, json_schema_extra={"pattern": WEB_URL}), AfterValidator(web_url)
]


def _name_the_type(schema: dict[str, Any]) -> None:
    """Tell others that `type` must be given: only we may leave it to the class."""
    schema["properties"]["type"].pop("default", None)
    schema["required"] = ["type", *schema.get("required", ())]


class Channel(BaseModel):
    """One way to reach a receiver."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, json_schema_extra=_name_the_type)


class EmailChannel(Channel):
    """An email to one address."""

    type: Literal["email"] = "email"
    to: EmailAddress
    subject: Title


class SmsChannel(Channel):
    """A text message to one phone number in E.164 form."""

    type: Literal["sms"] = "sms"
    phone_number: PhoneNumber


class PushChannel(Channel):
    """A push notification to one device; only the flat profile may leave the title out."""

    type: Literal["push"] = "push"
    device_token: DeviceToken
    title: Title | None


class WebhookChannel(Channel):
    """A signed POST to one URL."""

    type: Literal["webhook"] = "webhook"
    url: WebUrl


class ChatChannel(Channel):
    """A message to a chat destination, written as an Apprise URL."""

    type: Literal["chat"] = "chat"
    url: Url


class InAppChannel(Channel):
    """A message shown inside the product."""

    type: Literal["in_app"] = "in_app"


type AnyChannel = EmailChannel | SmsChannel | PushChannel | WebhookChannel | ChatChannel | InAppChannel

_CLASSES: dict[str, type[AnyChannel]] = {
    "email": EmailChannel,
    "sms": SmsChannel,
    "push": PushChannel,
    "webhook": WebhookChannel,
    "chat": ChatChannel,
    "in_app": InAppChannel,
}


def stored_channel(data: dict[str, Any]) -> AnyChannel:
    """Rebuild a channel from what the store kept; it was validated when it was accepted."""
    return _CLASSES[data["type"]].model_construct(**data)


def recipient(channel: AnyChannel) -> str | None:
    """Return the address the channel reaches, or None where the user is the address."""
    match channel:
        case EmailChannel():
            return channel.to
        case SmsChannel():
            return channel.phone_number
        case PushChannel():
            return channel.device_token
        case WebhookChannel() | ChatChannel():
            return channel.url
        case InAppChannel():
            return None
        case _:
            assert_never(channel)
