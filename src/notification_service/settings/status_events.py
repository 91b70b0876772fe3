"""Where status events go among the settings, and what they need of the others."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from notification_service.settings.kafka import Topic
from notification_service.settings.urls import scheme_of

if TYPE_CHECKING:
    from notification_service.settings.model import Settings

SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})
EXCHANGES = ("notifications.direct", "notifications.dead")


def _no_switch(value: str) -> str:
    if value.lower() in SWITCHES:
        raise ValueError(
            "must name a topic or exchange, for instance notifications.status; leave it unset for none"
        )
    return value


type TopicOrExchange = Annotated[Topic, AfterValidator(_no_switch)]


def conflicts(settings: "Settings") -> Iterator[str]:
    """Yield one line for each thing that doesn't fit together."""
    if not (name := settings.status_events):
        return
    if settings.broker == "embedded":
        yield "NS_STATUS_EVENTS: needs a broker that others can read; set NS_BROKER to kafka or rabbitmq"
    if scheme_of(settings.database_url.get_secret_value()) == "sqlite":
        yield "NS_STATUS_EVENTS: needs a PostgreSQL database; set NS_DATABASE_URL to postgresql://…"
    if settings.broker == "kafka" and _is_topic_of_ours(name, settings):
        yield "NS_STATUS_EVENTS: must not be a topic of NS_KAFKA_TOPIC or NS_KAFKA_DLQ_TOPIC"
    if settings.broker == "rabbitmq" and _is_exchange_of_ours(name, settings):
        yield "NS_STATUS_EVENTS: must not be an exchange of the work, nor begin with amq."


def _is_topic_of_ours(name: str, settings: "Settings") -> bool:
    work = re.escape(settings.kafka_topic).replace(re.escape("{channel}"), ".+")
    return bool(re.fullmatch(work, name)) or name == settings.kafka_dlq_topic


def _is_exchange_of_ours(name: str, settings: "Settings") -> bool:
    return name.startswith("amq.") or name in {f"{settings.rabbitmq_prefix}{each}" for each in EXCHANGES}
