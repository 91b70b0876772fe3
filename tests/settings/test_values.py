"""What a setting's text may be, and what is said about it when it is wrong."""

from datetime import timedelta
from ipaddress import ip_network

import pytest

from notification_service.settings import Settings, SettingsError, load_settings


def seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """Return why these variables don't allow a start."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "asynchronous"),
    [
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgres://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d"),
        ("postgresql+psycopg2://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require"),
        ("postgresql://h/d?channel_binding=require", "postgresql+asyncpg://h/d"),
        ("postgresql:///d?host=%2Frun%2Fpg", "postgresql+asyncpg:///d?host=%2Frun%2Fpg"),
        ("sqlite:///relative.db", "sqlite+aiosqlite:///relative.db"),
        ("sqlite:////absolute.db?mode=ro", "sqlite+aiosqlite:////absolute.db?mode=ro"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite:///x.db"),
    ],
)
def test_a_database_address_gets_its_async_driver(
    monkeypatch: pytest.MonkeyPatch, given: str, asynchronous: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", given)

    settings = load_settings()

    assert settings.async_database_url == asynchronous
    assert settings.async_read_database_url == asynchronous


def test_a_replica_answers_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_READ_DATABASE_URL", "postgresql://replica/d")

    assert load_settings().async_read_database_url == "postgresql+asyncpg://replica/d"


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_EMAIL_PROVIDERS", " Simulated, mailbox ,")
    monkeypatch.setenv("NS_RETRY_SCHEDULE", "1, 2.5,30")
    monkeypatch.setenv("NS_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1/8,::1")
    monkeypatch.setenv("NS_TRUSTED_PROXIES", "10.0.0.1")

    settings = load_settings()

    assert settings.email_providers == ("simulated", "mailbox")
    assert settings.retry_schedule == seconds(1, 2.5, 30)
    assert settings.webhook_allowed_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.trusted_proxies == (ip_network("10.0.0.1/32"),)


def test_waits_double_by_default_as_often_as_there_are_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().retry_schedule_for("email") == seconds(2, 4, 8)

    monkeypatch.setenv("NS_MAX_RETRIES", "5")
    assert load_settings().retry_schedule_for("chat") == seconds(2, 4, 8, 16, 32)


@pytest.mark.parametrize(("retries", "length", "last"), [("0", 1, 2), ("1", 1, 2), ("100", 100, 86_400)])
def test_waits_are_never_none_and_never_above_a_day(
    monkeypatch: pytest.MonkeyPatch, retries: str, length: int, last: int
) -> None:
    monkeypatch.setenv("NS_MAX_RETRIES", retries)

    schedule = load_settings().retry_schedule_for("email")

    assert len(schedule) == length
    assert schedule[-1] == timedelta(seconds=last)


def test_a_channels_own_schedule_comes_before_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_RETRY_SCHEDULE", "1,2")
    monkeypatch.setenv("NS_RETRY_SCHEDULE_WEBHOOK", "5,300")

    settings = load_settings()

    assert settings.retry_schedule_for("webhook") == seconds(5, 300)
    assert settings.retry_schedule_for("email") == settings.retry_schedule_for("in_app") == seconds(1, 2)


def test_only_sms_is_held_when_its_ending_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = ("email", "sms", "push", "webhook", "chat", "in_app")
    assert [name for name in channels if load_settings().hold_ambiguous(name)] == ["sms"]

    monkeypatch.setenv("NS_ON_AMBIGUOUS_SMS", "RETRY")
    monkeypatch.setenv("NS_ON_AMBIGUOUS_EMAIL", "hold")
    assert [name for name in channels if load_settings().hold_ambiguous(name)] == ["email"]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"NS_BROKER": "pigeon"},
            "NS_BROKER: no 'pigeon' in brokers; choose one of embedded, kafka, rabbitmq",
        ),
        (
            {"RABBITMQ_URL": "amqp://ann:geheim@:5672/"},
            "RABBITMQ_URL: must name a host, as in amqp://user:password@host:5672/",
        ),
        (
            {"NS_RABBITMQ_URL": "http://ann:geheim@rabbit:15672/"},
            "NS_RABBITMQ_URL: must begin with amqp:// or amqps://",
        ),
        (
            {"NS_RABBITMQ_QUEUE_TYPE": "stream"},
            (
                "NS_RABBITMQ_QUEUE_TYPE: should be 'quorum' or 'classic', not 'stream'; "
                "it is: quorum, or classic, which is not replicated: the type of our queues"
            ),
        ),
        (
            {"NS_SMS_PROVIDERS": "mailbox,pigeon"},
            "NS_SMS_PROVIDERS: no 'pigeon' in sms providers; choose one of mailbox, simulated",
        ),
        (
            {"NS_PUSH_PROVIDERS": "smtp"},
            "NS_PUSH_PROVIDERS: no 'smtp' in push providers; choose one of mailbox, simulated",
        ),
        (
            {"NS_EMAIL_PROVIDERS": "sendgrid"},
            "NS_EMAIL_PROVIDERS: no 'sendgrid' in email providers; choose one of mailbox, simulated, smtp",
        ),
        ({"NS_EMAIL_PROVIDERS": "smtp,smtp"}, "NS_EMAIL_PROVIDERS: names a provider twice; name each once"),
        ({"NS_EMAIL_PROVIDERS": "smtp"}, "NS_SMTP_URL: is missing; NS_EMAIL_PROVIDERS names smtp"),
        (
            {"NS_SEND_TIMEOUT_SECONDS": "59.5"},
            "NS_SEND_TIMEOUT_SECONDS: must be at least 1 less than NS_LEASE_SECONDS",
        ),
        (
            {"NS_SIMULATED_TRANSIENT_SHARE": "0.6", "NS_SIMULATED_PERMANENT_SHARE": "0.5"},
            "NS_SIMULATED_TRANSIENT_SHARE and NS_SIMULATED_PERMANENT_SHARE: must not exceed 1 together",
        ),
        (
            {"GOOGLE_CLIENT_ID": "x"},
            "NS_GOOGLE_CLIENT_ID and NS_GOOGLE_CLIENT_SECRET: set both or neither",
        ),
        (
            {"NS_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/33"},
            "NS_WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/33' is no network; write for instance 127.0.0.0/8",
        ),
        (
            {"DATABASE_URL": "mysql://u:geheim@h/d"},
            "DATABASE_URL: must begin with postgresql:// or postgres:// or sqlite://",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str
) -> None:
    assert refusal(monkeypatch, **variables) == line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NS_PORT", "0"),
        ("NS_PORT", "65536"),
        ("NS_PORT", "http"),
        ("NS_WORKER_PORT", "-1"),
        ("NS_API_PROCESSES", "0"),
        ("NS_LEASE_SECONDS", "0"),
        ("NS_LEASE_SECONDS", "nan"),
        ("NS_LEASE_SECONDS", "inf"),
        ("NS_SEND_TIMEOUT_SECONDS", "-1"),
        ("NS_WORKER_CONCURRENCY", "0"),
        ("NS_MAX_RETRIES", "-1"),
        ("NS_RATE_LIMIT_PER_HOUR", "0"),
        ("NS_SIMULATED_TRANSIENT_SHARE", "1.1"),
        ("NS_SIMULATED_LATENCY_SECONDS", "nan"),
        ("NS_JWT_ALGORITHM", "none"),
        ("NS_JWT_ALGORITHM", "RS256"),
        ("NS_ENVIRONMENT", "prod"),
        ("NS_LOG_FORMAT", "xml"),
        ("NS_LOG_LEVEL", "loud"),
        ("NS_ON_AMBIGUOUS_SMS", "maybe"),
        ("NS_RETRY_SCHEDULE", "2,x"),
        ("NS_RETRY_SCHEDULE", "-2"),
        ("NS_RETRY_SCHEDULE", "0"),
        ("NS_RETRY_SCHEDULE", "1e9"),
        ("NS_RETRY_SCHEDULE", "86401"),
        ("NS_RETRY_SCHEDULE_SMS", ","),
        ("NS_TRUSTED_PROXIES", "*"),
        ("NS_DEBUG", "perhaps"),
        ("NS_RETENTION_DAYS", "0"),
        ("NS_SMTP_URL", "localhost:25"),
        ("NS_SMTP_URL", "http://localhost"),
        ("NS_SMTP_URL", "smtp://"),
        ("NS_EMAIL_FROM", "nobody"),
        ("NS_EMAIL_FROM", "Ann\x1b <ann@example.com>"),
        ("NS_REDIS_URL", "localhost:6379"),
        ("NS_REDIS_URL", "redis://"),
        ("NS_REDIS_URL", "redis://cache:port/0"),
        ("NS_REDIS_URL", "redis://cache/limits"),
        ("NS_REDIS_URL", "redis://cache/0?password=x"),
        ("NS_REDIS_URL", "unix://cache"),
        ("NS_REDIS_URL", "unix:///run/redis.sock?db=one"),
        ("NS_REDIS_URL", "REDIS://cache"),
        ("NS_OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    message = refusal(monkeypatch, **{name: value})

    assert message.startswith(f"{name}: ")
    assert len(message.splitlines()) == 1


def test_every_problem_has_its_line_and_the_name_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(
        monkeypatch, NS_PORT="abc", LOG_LEVEL="loud", NS_BROKER="pigeon", NS_ENVIRONMENT="staging"
    )

    assert {line.partition(":")[0] for line in message.splitlines()} == {
        "LOG_LEVEL",
        "NS_PORT",
        "NS_BROKER",
        "NS_WEBHOOK_SECRET",
        "NS_JWT_SECRET",
        "NS_SESSION_SECRET_KEY",
    }


def test_a_wrong_plain_value_is_quoted_and_its_meaning_told(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, NS_PORT="abc")

    assert "'abc'" in message
    assert "Port of the API" in message


@pytest.mark.parametrize("url", ["smtp://localhost:1025", "smtp+starttls://u:p@mail:587", "SMTPS://mail"])
def test_smtp_is_usable_with_an_address_and_a_sender(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NS_EMAIL_PROVIDERS", "smtp")
    monkeypatch.setenv("SMTP_URL", url)
    monkeypatch.setenv("EMAIL_FROM", "Acme <hello@acme.example>")

    settings = load_settings()

    assert settings.smtp_url is not None
    assert (settings.smtp_url.get_secret_value(), settings.email_from) == (url, "Acme <hello@acme.example>")


@pytest.mark.usefixtures("production")
def test_outside_development_smtp_needs_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, NS_EMAIL_PROVIDERS="smtp", NS_SMTP_URL="smtps://mail")

    assert message == "NS_EMAIL_FROM: is missing; NS_EMAIL_PROVIDERS names smtp"


def test_a_programs_own_argument_comes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_PORT", "9000")

    assert Settings(port=9001).port == 9001
