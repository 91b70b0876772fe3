"""What belongs to Kafka among the settings, and what of it fits together."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    from notification_service.settings.sections import Brokers

LONGEST_CHANNEL = "webhook"


def _addresses(value: str) -> str:
    parts = [part.strip() for part in value.split(",")]
    if not all(re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@]+):[0-9]{1,5}", part) for part in parts):
        raise ValueError("must be host:port, comma separated, without a scheme; for instance localhost:9092")
    return ",".join(parts)


def _topic(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", value) or value in {".", ".."}:
        raise ValueError("must be 1 to 249 letters, digits, dots, hyphens or underscores")
    return value


def _topics(value: str) -> str:
    _topic(value.replace("{channel}", LONGEST_CHANNEL))
    return value


type Addresses = Annotated[str, AfterValidator(_addresses)]
type Topic = Annotated[str, AfterValidator(_topic)]
type Topics = Annotated[str, AfterValidator(_topics)]


def conflicts(settings: "Brokers") -> Iterator[str]:
    """Yield one line for each thing that doesn't fit together."""
    protocol = settings.kafka_security_protocol
    user, password = settings.kafka_sasl_username, settings.kafka_sasl_password
    files = (settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    if settings.kafka_topic == settings.kafka_dlq_topic:
        yield "NS_KAFKA_DLQ_TOPIC: must not be NS_KAFKA_TOPIC"
    if protocol.startswith("SASL") and not (user and password):
        yield (
            "NS_KAFKA_SASL_USERNAME and NS_KAFKA_SASL_PASSWORD: "
            f"set both; NS_KAFKA_SECURITY_PROTOCOL is {protocol}"
        )
    if (user or password) and not protocol.startswith("SASL"):
        yield (
            "NS_KAFKA_SECURITY_PROTOCOL: must be SASL_SSL or SASL_PLAINTEXT for NS_KAFKA_SASL_* to be used; "
            f"it is {protocol}"
        )
    if any(files) and not protocol.endswith("SSL"):
        yield (
            "NS_KAFKA_SECURITY_PROTOCOL: must be SSL or SASL_SSL for NS_KAFKA_SSL_* to be used; "
            f"it is {protocol}"
        )
    if settings.kafka_ssl_keyfile and not settings.kafka_ssl_certfile:
        yield "NS_KAFKA_SSL_CERTFILE: is missing; NS_KAFKA_SSL_KEYFILE is set"
