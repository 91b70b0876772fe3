"""The broker that the settings name; a library is imported only when its broker is used."""

# ruff: noqa: PLC0415 - each of these imports takes some 100 ms

from pathlib import Path

from notification_service.adapters.brokers.embedded import EmbeddedBroker
from notification_service.domain.channels import ChannelType
from notification_service.ports import Broker, Wakeups
from notification_service.settings import Settings


def broker_of(settings: Settings, wakeups: Wakeups, channels: frozenset[ChannelType]) -> Broker:
    """Return the broker, closed; `channels` are those that this deployment serves."""
    match settings.broker:
        case "kafka":
            return _kafka(settings, channels)
        case "rabbitmq":
            return _rabbitmq(settings)
        case _:
            return EmbeddedBroker(wakeups)


def _kafka(settings: Settings, channels: frozenset[ChannelType]) -> Broker:
    from notification_service.adapters.brokers.kafka import KafkaBroker
    from notification_service.adapters.brokers.kafka_access import KafkaAccess

    password = settings.kafka_sasl_password
    access = KafkaAccess(
        bootstrap=settings.kafka_bootstrap,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ssl_cafile=_path(settings.kafka_ssl_cafile),
        ssl_certfile=_path(settings.kafka_ssl_certfile),
        ssl_keyfile=_path(settings.kafka_ssl_keyfile),
    )
    return KafkaBroker(
        access,
        channels=channels,
        topic=settings.kafka_topic,
        dlq_topic=settings.kafka_dlq_topic,
        partitions=settings.kafka_partitions,
        replication=settings.kafka_replication,
        status_topic=settings.status_events,
    )


def _rabbitmq(settings: Settings) -> Broker:
    from notification_service.adapters.brokers.rabbitmq import RabbitmqBroker

    return RabbitmqBroker(
        settings.rabbitmq_url.get_secret_value(),
        prefetch=settings.rabbitmq_prefetch or settings.worker_concurrency,
        queue_type=settings.rabbitmq_queue_type,
        prefix=settings.rabbitmq_prefix,
        status_exchange=settings.status_events,
        name=settings.service_name,
    )


def _path(path: Path | None) -> str | None:
    return str(path) if path else None
