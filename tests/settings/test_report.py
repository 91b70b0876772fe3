"""What `notify doctor` is told."""

from pathlib import Path

import pytest

from notification_service.settings import Settings, describe, load_settings, warnings
from tests.settings.conftest import Write


def line(settings: Settings, name: str) -> tuple[str, str]:
    (found,) = [line for line in describe(settings) if line.name == name]
    return found.value, found.source


def test_each_setting_is_told_with_value_source_and_meaning(
    monkeypatch: pytest.MonkeyPatch, write_env_file: Write
) -> None:
    write_env_file("RATE_LIMIT_PER_HOUR=7\nNS_RETRY_SCHEDULE=2,4.5")
    monkeypatch.setenv("NS_PORT", "9000")

    settings = load_settings()

    assert line(settings, "NS_PORT") == ("9000", "environment")
    assert line(settings, "NS_RATE_LIMIT_PER_HOUR") == ("7", ".env")
    assert line(settings, "NS_RETRY_SCHEDULE") == ("2,4.5", ".env")
    assert line(settings, "NS_LEASE_SECONDS") == ("60", "default")
    assert line(settings, "NS_DEBUG") == ("false", "default")
    assert line(settings, "NS_REDIS_URL") == ("", "default")
    assert line(Settings(port=9001), "NS_LEASE_SECONDS") == ("60", "default")
    assert all(line.description for line in describe(settings))


def test_what_the_program_set_is_called_an_argument() -> None:
    assert line(Settings(lease_seconds=30), "NS_LEASE_SECONDS") == ("30", "argument")


def test_an_address_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:pa:ss@w@db:5433/notes?password=x")
    monkeypatch.setenv("REDIS_URL", "redis://:pass@cache:6379/1")

    settings = load_settings()

    assert line(settings, "NS_DATABASE_URL") == ("postgresql://ann:***@db:5433/notes", "environment")
    assert line(settings, "NS_REDIS_URL") == ("redis://***@cache:6379/1", "environment")


def test_a_secret_is_told_as_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.something")

    assert line(load_settings(), "NS_SENDGRID_API_KEY") == ("********", "environment")


def test_a_fresh_development_machine_has_no_warnings() -> None:
    assert warnings(load_settings()) == []


@pytest.mark.usefixtures("production")
def test_a_careful_production_has_no_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_EMAIL_PROVIDERS", "smtp")
    monkeypatch.setenv("NS_SMTP_URL", "smtp+starttls://mail")
    monkeypatch.setenv("NS_EMAIL_FROM", "hello@acme.example")

    assert warnings(load_settings()) == []


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("NS_DEBUG", "1", "outside development"),
        ("NS_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8", "private addresses"),
        ("NS_RATE_LIMIT_FAIL_OPEN", "yes", "nothing is limited"),
        ("NS_EMAIL_PROVIDERS", "mailbox", "mailbox sends nothing"),
        ("NS_SMS_PROVIDERS", "simulated", "simulated sends nothing"),
        ("NS_API_PROCESSES", "4", "rate limits"),
        ("NS_SMTP_URL", "smtp://ann:pw@mail:587", "unencrypted"),
        ("NS_JWT_ALGORITHM", "HS512", ""),
        ("NS_EMAIL_PROVIDERS", "", "is empty"),
    ],
)
def test_a_risky_value_is_allowed_and_warned_of(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, word: str
) -> None:
    monkeypatch.setenv("NS_JWT_SECRET", "kR4-zU8_wQ2.tY6,pL0;sD1:fG3 hJ5!m")
    monkeypatch.setenv(name, value)

    found = warnings(load_settings())

    expected = "NS_JWT_SECRET" if name == "NS_JWT_ALGORITHM" else name
    assert [text for text in found if text.startswith(f"{expected}: ") and word in text]


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("url", ["redis://cache", "rediss://:pw@cache:6380/1?ssl_ca_certs=/ca.pem"])
def test_processes_that_share_redis_share_their_limits(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NS_REDIS_URL", url)
    monkeypatch.setenv("NS_API_PROCESSES", "4")

    assert not [text for text in warnings(load_settings()) if text.startswith(("NS_API", "NS_REDIS"))]


@pytest.mark.usefixtures("production")
def test_smtp_to_this_machine_needs_no_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_SMTP_URL", "smtp://ann:pw@localhost:1025")

    assert not [text for text in warnings(load_settings()) if text.startswith("NS_SMTP_URL")]


def test_in_development_a_weak_secret_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "changeme")

    assert warnings(load_settings()) == [
        "NS_JWT_SECRET: is shorter than 32 bytes; refused outside development"
    ]


def test_files_that_others_can_read_are_warned_of(folder: Path, write_env_file: Write) -> None:
    write_env_file("NS_PORT=9000")
    settings = load_settings()
    (folder / ".env").chmod(0o644)
    (folder / "data").chmod(0o750)

    assert [text.partition(":")[0] for text in warnings(settings)] == ["NS_DATA_DIR", ".env"]


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("NS_RATELIMIT", "NS_RATE_LIMIT_PER_HOUR"),
        ("NS_DATABSE_URL", "NS_DATABASE_URL"),
        ("NS_PORTS", "NS_PORT"),
        ("NS_XYZZY", None),
    ],
)
def test_a_mistyped_name_is_told_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, write_env_file: Write, typo: str, nearest: str | None
) -> None:
    write_env_file(f"{typo}=1")
    monkeypatch.setenv("NS_TEST_POSTGRES_URL", "for the test suite alone")

    settings = load_settings()

    assert settings.unknown_names() == {typo: nearest}
    assert any(text.startswith(f"{typo}: is no setting") for text in warnings(settings))
