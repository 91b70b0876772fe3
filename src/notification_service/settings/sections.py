"""Every setting with its default and its meaning, in the groups in which the reference shows them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, FilePath, SecretStr

from notification_service.settings.fields import (
    Environment,
    Lower,
    Names,
    Networks,
    Upper,
    Waits,
    setting,
)
from notification_service.settings.kafka import Addresses, Topic, Topics
from notification_service.settings.secret_keys import private_folder
from notification_service.settings.status_events import TopicOrExchange
from notification_service.settings.urls import sqlite_url

type LogLevel = Literal["debug", "info", "warning", "error", "critical"]
type OnAmbiguous = Literal["retry", "hold"]

PORTS: dict[str, Any] = {"ge": 1, "le": 65535}
SECONDS: dict[str, Any] = {"gt": 0, "le": 86_400, "allow_inf_nan": False}
SHARE: dict[str, Any] = {"ge": 0, "le": 1, "allow_inf_nan": False}

YEAR_SECONDS = 366 * 86_400


def _is_development(settings: dict[str, Any]) -> bool:
    return bool(settings["environment"] == "development")


def _host(settings: dict[str, Any]) -> str:
    return "127.0.0.1" if _is_development(settings) else "0.0.0.0"  # noqa: S104 - behind a container's network


def _log_level(settings: dict[str, Any]) -> str:
    return "debug" if settings["debug"] else "info"


def _database_url(settings: dict[str, Any]) -> SecretStr:
    folder: Path = settings["data_dir"]
    private_folder(folder)
    return SecretStr(sqlite_url(folder / "notifications.db"))


def _providers(settings: dict[str, Any]) -> tuple[str, ...]:
    return ("mailbox",) if _is_development(settings) else ()


def _email_from(settings: dict[str, Any]) -> str | None:
    return "notifications@localhost" if _is_development(settings) else None


def provider_names(description: str) -> Any:
    """Declare the ordered providers of a channel: the mailbox in development, none elsewhere."""
    return setting(
        description=f"{description}; the first is used, the others stand by for a later release",
        default_factory=_providers,
        shown="`mailbox` in development, else none",
    )


class Process(BaseModel):
    """How a process runs and what it says."""

    environment: Lower[Environment] = setting(
        "development",
        "`development`, `staging` or `production`; outside development insecure settings are refused",
        also=["ENVIRONMENT"],
    )
    debug: bool = setting(False, "Say more in the log; never shows tracebacks to callers", also=["DEBUG"])
    service_name: str = setting("notification-service", "The name in logs and traces", min_length=1)
    host: str = setting(
        description="Address to listen on",
        default_factory=_host,
        shown="`127.0.0.1` in development, else `0.0.0.0`",
        min_length=1,
    )
    port: int = setting(8000, "Port of the API", **PORTS)
    api_processes: int = setting(1, "How many processes answer the API", ge=1, le=256)
    worker_port: int = setting(8001, "Port of a worker's `/metrics` and `/health`; 0 = off", ge=0, le=65535)
    data_dir: Path = setting(
        Path("data"),
        "Folder of the SQLite database and of development's secrets, made for its owner alone; "
        "relative to the working directory, so that a second start finds what the first one left",
    )
    log_level: Lower[LogLevel] = setting(
        description="`debug`, `info`, `warning`, `error` or `critical`",
        default_factory=_log_level,
        shown="`info`, with NS_DEBUG `debug`",
        also=["LOG_LEVEL"],
    )
    log_format: Lower[Literal["auto", "json", "console"]] = setting(
        "auto", "`json`, `console`, or `auto`: readable on a terminal, else JSON"
    )
    shutdown_seconds: float = setting(30.0, "Seconds to finish what is in flight at a stop", **SECONDS)


class Stores(BaseModel):
    """Where notifications are kept and counted."""

    database_url: SecretStr = setting(
        description="`postgresql://user:password@host/name` or `sqlite:///path`; the async driver is added",
        default_factory=_database_url,
        shown="`sqlite:///…/notifications.db` in NS_DATA_DIR",
        also=["DATABASE_URL"],
    )
    read_database_url: SecretStr | None = setting(
        None, "A replica that answers lists and searches", also=["READ_DATABASE_URL"]
    )
    database_pool_size: int = setting(10, "Connections to the database for each process", ge=1, le=1000)
    redis_url: SecretStr | None = setting(
        None,
        "`redis://user:password@host:6379/0`, `rediss://` with TLS, or `unix://`: where all processes count "
        "rate limits together; unset, each process counts its own",
        also=["REDIS_URL"],
    )


class Brokers(BaseModel):
    """How work reaches the workers."""

    broker: Lower[str] = setting(
        "embedded", "`embedded`: workers read due work from the database; or `kafka`, `rabbitmq`"
    )
    kafka_bootstrap: Addresses = setting(
        "localhost:29092",
        "Kafka's `host:port`, comma separated",
        also=["KAFKA_BOOTSTRAP", "KAFKA_BOOTSTRAP_SERVERS"],
    )
    kafka_topic: Topics = setting(
        "notifications", "Topic of the work; a `{channel}` in it gives one for each", also=["KAFKA_TOPIC"]
    )
    kafka_dlq_topic: Topic = setting("notifications.DLQ", "Topic of dead letters", also=["KAFKA_DLQ_TOPIC"])
    kafka_partitions: int = setting(
        12,
        "Partitions of a topic that has to be made; no more workers than that share a topic",
        ge=1,
        le=10_000,
    )
    kafka_replication: int = setting(1, "Copies of each partition of such a topic", ge=1, le=100)
    kafka_security_protocol: Upper[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]] = setting(
        "PLAINTEXT", "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`: whether Kafka wants TLS and a user"
    )
    kafka_sasl_mechanism: Upper[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]] = setting(
        "PLAIN", "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`: how the user is proved"
    )
    kafka_sasl_username: str | None = setting(None, "Kafka's user")
    kafka_sasl_password: SecretStr | None = setting(None, "That user's password")
    kafka_ssl_cafile: FilePath | None = setting(
        None, "Certificates that vouch for Kafka's, as a PEM file", shown="those of the system"
    )
    kafka_ssl_certfile: FilePath | None = setting(
        None, "Our own certificate, where Kafka asks for one, as a PEM file"
    )
    kafka_ssl_keyfile: FilePath | None = setting(None, "Its key, as a PEM file without a passphrase")
    rabbitmq_url: SecretStr = setting(
        SecretStr("amqp://guest:guest@localhost:5672/"),
        "RabbitMQ's address: `amqp://user:password@host:5672/vhost`, `amqps://` with TLS",
        also=["RABBITMQ_URL"],
    )
    rabbitmq_queue_type: Lower[Literal["quorum", "classic"]] = setting(
        "quorum", "`quorum`, or `classic`, which is not replicated: the type of our queues"
    )
    rabbitmq_prefetch: int | None = setting(
        None,
        "Messages that a worker takes of each queue before it has settled earlier ones",
        shown="NS_WORKER_CONCURRENCY",
        ge=1,
        le=10_000,
    )
    rabbitmq_prefix: str = setting(
        "",
        "Put before the name of each of our queues and exchanges, where others share the virtual host",
        shown="none",
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]*$",
    )
    status_events: TopicOrExchange | None = setting(
        None,
        "The topic or exchange where other systems learn what became of notifications "
        "(`notification.sent`, `.failed`, …); needs PostgreSQL, and the same value in every process",
        shown="off",
    )


class Delivery(BaseModel):
    """How often, how long and through what a delivery is tried."""

    max_retries: int = setting(
        3, "Attempts after the first: 3 means four in all", ge=0, le=100, also=["MAX_RETRIES"]
    )
    retry_schedule: Waits | None = setting(
        None,
        "Seconds between attempts, comma separated; the last one repeats; each is moved by up to 20 %",
        shown="`2,4,8,…`: doubles up to a day",
    )
    retry_schedule_email: Waits | None = setting(None, "The same for email", shown="NS_RETRY_SCHEDULE")
    retry_schedule_sms: Waits | None = setting(None, "The same for SMS", shown="NS_RETRY_SCHEDULE")
    retry_schedule_push: Waits | None = setting(None, "The same for push", shown="NS_RETRY_SCHEDULE")
    retry_schedule_webhook: Waits | None = setting(None, "The same for webhooks", shown="NS_RETRY_SCHEDULE")
    lease_seconds: float = setting(
        60.0, "Seconds a worker may hold a notification before another may take it", **SECONDS
    )
    send_timeout_seconds: float = setting(
        10.0, "Seconds a provider has for one attempt; at least one less than NS_LEASE_SECONDS", **SECONDS
    )
    sweep_interval_seconds: float = setting(5.0, "Seconds between two looks for what got stuck", **SECONDS)
    queued_timeout_seconds: float = setting(
        120.0, "Seconds after which a queued notification that nobody took is published again", **SECONDS
    )
    worker_concurrency: int = setting(64, "Deliveries in flight for each worker", ge=1, le=10_000)
    email_providers: Names = provider_names("`mailbox`, `simulated`, `smtp`, comma separated")
    sms_providers: Names = provider_names("`mailbox`, `simulated`, comma separated")
    push_providers: Names = provider_names("`mailbox`, `simulated`, comma separated")
    on_ambiguous_email: Lower[OnAmbiguous] = setting(
        "retry", "What to do when nobody knows whether the provider took an email: `retry` or `hold`"
    )
    on_ambiguous_sms: Lower[OnAmbiguous] = setting("hold", "The same for SMS: a second one costs money")
    on_ambiguous_push: Lower[OnAmbiguous] = setting("retry", "The same for push")
    on_ambiguous_webhook: Lower[OnAmbiguous] = setting("retry", "The same for webhooks")


class Providers(BaseModel):
    """How each provider is reached."""

    smtp_url: SecretStr | None = setting(
        None,
        "`smtp://user:password@host:587` (STARTTLS when offered), `smtp+starttls://` (required) or `smtps://`",
        also=["SMTP_URL"],
    )
    email_from: str | None = setting(
        description="The sender of every email, for instance `Acme <hello@acme.example>`",
        default_factory=_email_from,
        shown="`notifications@localhost` in development, else unset",
        also=["EMAIL_FROM"],
    )
    sendgrid_api_key: SecretStr | None = setting(
        None, "SendGrid's API key, for a later release", also=["SENDGRID_API_KEY"]
    )
    sendgrid_from_email: str | None = setting(
        None,
        "The sender of emails that go through SendGrid, for a later release",
        also=["SENDGRID_FROM_EMAIL"],
    )
    twilio_account_sid: str | None = setting(
        None, "Twilio's account, for a later release", also=["TWILIO_ACCOUNT_SID"]
    )
    twilio_auth_token: SecretStr | None = setting(
        None, "Twilio's token, for a later release", also=["TWILIO_AUTH_TOKEN"]
    )
    webhook_secret: SecretStr = setting(
        SecretStr(""),
        "Signs webhooks after Standard Webhooks: `whsec_` and 32 random bytes in base64",
        shown="made once in development, else required",
        validate_default=True,
    )
    webhook_allowed_networks: Networks = setting(
        (),
        "Networks that webhooks may reach though they are private, on any port and over plain http, "
        "for instance `127.0.0.0/8`",
        shown="none",
    )
    simulated_latency_seconds: float = setting(
        0.0, "Seconds the `simulated` provider takes", ge=0, le=3600, allow_inf_nan=False
    )
    simulated_transient_share: float = setting(0.0, "Share of its calls that fail for now, 0 to 1", **SHARE)
    simulated_permanent_share: float = setting(0.0, "Share of its calls that fail for good, 0 to 1", **SHARE)


class Security(BaseModel):
    """Who is let in."""

    jwt_secret: SecretStr = setting(
        SecretStr(""),
        "Signs and checks access tokens; at least 32 bytes",
        shown="made once in development, else required",
        also=["JWT_SECRET"],
        validate_default=True,
    )
    jwt_algorithm: Upper[Literal["HS256", "HS384", "HS512"]] = setting(
        "HS256", "`HS256`, `HS384` or `HS512`; no other is accepted in a token", also=["JWT_ALGORITHM"]
    )
    jwt_ttl_seconds: int = setting(3600, "Seconds an access token is valid", ge=1, le=YEAR_SECONDS)
    jwt_issuer: str | None = setting(None, "Required `iss` of a token, when set")
    jwt_audience: str | None = setting(None, "Required `aud` of a token, when set")
    session_secret_key: SecretStr = setting(
        SecretStr(""),
        "Signs the browser's session cookie; at least 32 bytes",
        shown="made once in development, else required",
        also=["SESSION_SECRET_KEY"],
        validate_default=True,
    )
    google_client_id: str | None = setting(None, "Sign-in with Google: the client", also=["GOOGLE_CLIENT_ID"])
    google_client_secret: SecretStr | None = setting(None, "Its secret", also=["GOOGLE_CLIENT_SECRET"])
    trusted_proxies: Networks = setting(
        (), "Networks of the proxies whose `X-Forwarded-*` headers are believed", shown="none"
    )
    max_body_bytes: int = setting(
        262_144, "The largest request body; bulk requests may have 5 MB", ge=1024, le=5_242_880
    )


class Limits(BaseModel):
    """How much is accepted and how long it is kept."""

    rate_limit_per_hour: int = setting(
        100,
        "Notifications for each receiver in any 60 minutes",
        ge=1,
        le=10_000_000,
        also=["RATE_LIMIT_PER_HOUR"],
    )
    rate_limit_fail_open: bool = setting(
        False, "Accept without counting when the limiter is out of reach, instead of answering 503"
    )
    idempotency_ttl_seconds: int = setting(
        86_400, "Seconds an answer is kept for its Idempotency-Key", ge=1, le=YEAR_SECONDS
    )
    retention_days: int | None = setting(
        None, "Days after which finished notifications are deleted", shown="kept for ever", ge=1, le=36_600
    )


class Telemetry(BaseModel):
    """What leaves the process for those who watch it."""

    otel_exporter_otlp_endpoint: str | None = setting(
        None,
        "Base URL of an OTLP/HTTP collector, for instance `http://localhost:4318`; turns traces on",
        also=["OTEL_EXPORTER_OTLP_ENDPOINT"],
    )


SECTIONS: dict[str, type[BaseModel]] = {
    "Process": Process,
    "Stores": Stores,
    "Broker": Brokers,
    "Delivery": Delivery,
    "Providers": Providers,
    "Security": Security,
    "Limits": Limits,
    "Telemetry": Telemetry,
}
