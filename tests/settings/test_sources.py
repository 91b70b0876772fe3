"""Where a setting comes from and which of two sources wins."""

from pathlib import Path

import pytest

from notification_service.settings import Settings, SettingsError, load_settings
from tests.settings.conftest import Write

CONTRACT = """
ENVIRONMENT DEBUG SERVICE_NAME HOST PORT API_PROCESSES WORKER_PORT DATA_DIR LOG_LEVEL LOG_FORMAT
SHUTDOWN_SECONDS DATABASE_URL READ_DATABASE_URL DATABASE_POOL_SIZE REDIS_URL BROKER KAFKA_BOOTSTRAP
KAFKA_TOPIC KAFKA_DLQ_TOPIC KAFKA_PARTITIONS KAFKA_REPLICATION RABBITMQ_URL STATUS_EVENTS MAX_RETRIES
RETRY_SCHEDULE RETRY_SCHEDULE_EMAIL RETRY_SCHEDULE_SMS RETRY_SCHEDULE_PUSH RETRY_SCHEDULE_WEBHOOK
LEASE_SECONDS SEND_TIMEOUT_SECONDS SWEEP_INTERVAL_SECONDS QUEUED_TIMEOUT_SECONDS WORKER_CONCURRENCY
EMAIL_PROVIDERS SMS_PROVIDERS PUSH_PROVIDERS ON_AMBIGUOUS_EMAIL ON_AMBIGUOUS_SMS ON_AMBIGUOUS_PUSH
ON_AMBIGUOUS_WEBHOOK SMTP_URL EMAIL_FROM SENDGRID_API_KEY SENDGRID_FROM_EMAIL TWILIO_ACCOUNT_SID
TWILIO_AUTH_TOKEN WEBHOOK_SECRET WEBHOOK_ALLOWED_NETWORKS SIMULATED_LATENCY_SECONDS
SIMULATED_TRANSIENT_SHARE SIMULATED_PERMANENT_SHARE JWT_SECRET JWT_ALGORITHM JWT_TTL_SECONDS JWT_ISSUER
JWT_AUDIENCE SESSION_SECRET_KEY GOOGLE_CLIENT_ID GOOGLE_CLIENT_SECRET TRUSTED_PROXIES MAX_BODY_BYTES
RATE_LIMIT_PER_HOUR RATE_LIMIT_FAIL_OPEN IDEMPOTENCY_TTL_SECONDS RETENTION_DAYS
"""

ALIASES = """
ENVIRONMENT DEBUG LOG_LEVEL DATABASE_URL REDIS_URL KAFKA_BOOTSTRAP KAFKA_BOOTSTRAP_SERVERS RABBITMQ_URL
SMTP_URL EMAIL_FROM SENDGRID_API_KEY SENDGRID_FROM_EMAIL TWILIO_ACCOUNT_SID TWILIO_AUTH_TOKEN JWT_SECRET
JWT_ALGORITHM SESSION_SECRET_KEY GOOGLE_CLIENT_ID GOOGLE_CLIENT_SECRET OTEL_EXPORTER_OTLP_ENDPOINT
"""


@pytest.mark.parametrize("name", CONTRACT.split())
def test_every_setting_of_the_contract_exists(name: str) -> None:
    assert f"NS_{name}" in Settings.names
    assert name.lower() in Settings.model_fields


@pytest.mark.parametrize("name", ALIASES.split())
def test_what_seed_systems_set_is_read_without_the_prefix(name: str) -> None:
    assert name in Settings.names


@pytest.mark.parametrize("name", ["HOST", "PORT", "DATA_DIR", "BROKER", "SERVICE_NAME", "NAME"])
def test_names_that_mean_other_things_elsewhere_need_the_prefix(name: str) -> None:
    """A shell's HOST or a platform's PORT must not move the service."""
    assert name not in Settings.names


def test_nothing_set_gives_the_defaults_of_the_contract(folder: Path) -> None:
    settings = load_settings()

    assert (settings.environment, settings.host, settings.port) == ("development", "127.0.0.1", 8000)
    assert (settings.worker_port, settings.api_processes, settings.shutdown_seconds) == (8001, 1, 30)
    assert (settings.max_retries, settings.lease_seconds, settings.send_timeout_seconds) == (3, 60, 10)
    assert (settings.sweep_interval_seconds, settings.queued_timeout_seconds) == (5, 120)
    assert (settings.worker_concurrency, settings.rate_limit_per_hour) == (64, 100)
    assert (settings.max_body_bytes, settings.idempotency_ttl_seconds) == (262_144, 86_400)
    assert (settings.jwt_algorithm, settings.jwt_ttl_seconds) == ("HS256", 3600)
    assert settings.email_providers == settings.sms_providers == settings.push_providers == ("mailbox",)
    assert settings.data_dir == folder / "data"
    assert settings.async_database_url == f"sqlite+aiosqlite:///{folder}/data/notifications.db"


@pytest.mark.usefixtures("production")
def test_outside_development_it_listens_everywhere_and_sends_by_nothing() -> None:
    settings = load_settings()

    assert settings.host == "0.0.0.0"
    assert settings.email_providers == settings.sms_providers == settings.push_providers == ()


def test_debug_lowers_the_log_level_unless_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_DEBUG", "true")
    assert load_settings().log_level == "debug"

    monkeypatch.setenv("NS_LOG_LEVEL", "WARNING")
    assert load_settings().log_level == "warning"


def test_a_setting_may_stand_in_the_env_file(write_env_file: Write) -> None:
    write_env_file('NS_PORT=9000\nexport NS_SERVICE_NAME="my service" # a comment\n')

    settings = load_settings()

    assert (settings.port, settings.service_name) == (9000, "my service")


def test_the_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch, write_env_file: Write
) -> None:
    write_env_file("NS_PORT=9000\nNS_REDIS_URL=redis://file")
    monkeypatch.setenv("NS_PORT", "9001")
    monkeypatch.setenv("REDIS_URL", "redis://environment")

    settings = load_settings()

    assert settings.port == 9001
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://environment"


def test_in_one_source_the_name_with_the_prefix_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "c:1")
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "b:1")
    assert load_settings().kafka_bootstrap == "b:1"

    monkeypatch.setenv("NS_KAFKA_BOOTSTRAP", "a:1")
    assert load_settings().kafka_bootstrap == "a:1"


@pytest.mark.parametrize("empty", ["", "   "])
def test_empty_means_unset(monkeypatch: pytest.MonkeyPatch, write_env_file: Write, empty: str) -> None:
    write_env_file("NS_PORT=9000\nNS_HOST=\n")
    monkeypatch.setenv("NS_PORT", empty)
    monkeypatch.setenv("NS_REDIS_URL", empty)

    settings = load_settings()

    assert (settings.port, settings.host, settings.redis_url) == (9000, "127.0.0.1", None)


def test_an_unreadable_env_file_is_named(folder: Path) -> None:
    (folder / ".env").write_bytes(b"NS_PORT=\xff\xfe")

    with pytest.raises(SettingsError, match=r"^\.env: cannot be read"):
        load_settings()


def test_the_data_folder_stays_where_it_is_when_the_process_moves(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    monkeypatch.chdir("/")

    assert settings.data_dir == folder / "data"
    assert str(folder) in settings.async_database_url


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # as mypy says
