"""The settings of Kafka, each and together."""

from pathlib import Path

import pytest

from notification_service.settings import SettingsError, load_settings

PROTOCOL = "NS_KAFKA_SECURITY_PROTOCOL"
USER = {"NS_KAFKA_SASL_USERNAME": "ann", "NS_KAFKA_SASL_PASSWORD": "geheim"}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_kafka_can_be_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"NS_BROKER": "Kafka", "NS_KAFKA_TOPIC": "work.{channel}"})

    settings = load_settings()

    assert settings.broker == "kafka"
    assert settings.kafka_topic == "work.{channel}"


def test_addresses_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_KAFKA_BOOTSTRAP", "one:9092, two.example:9093 ,[::1]:9094")

    assert load_settings().kafka_bootstrap == "one:9092,two.example:9093,[::1]:9094"


def test_a_user_and_certificates_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    set_all(monkeypatch, {PROTOCOL: "sasl_ssl", "NS_KAFKA_SASL_MECHANISM": "scram-sha-512", **USER})
    monkeypatch.setenv("NS_KAFKA_SSL_CAFILE", str(tmp_path / "ca.pem"))

    settings = load_settings()

    assert settings.kafka_security_protocol == "SASL_SSL"
    assert settings.kafka_sasl_mechanism == "SCRAM-SHA-512"
    assert settings.kafka_ssl_cafile == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"NS_KAFKA_BOOTSTRAP": "kafka://one:9092"}, "NS_KAFKA_BOOTSTRAP: must be host:port, "),
        ({"NS_KAFKA_BOOTSTRAP": "one"}, "NS_KAFKA_BOOTSTRAP: must be host:port, "),
        ({"NS_KAFKA_TOPIC": "{channels}"}, "NS_KAFKA_TOPIC: must be 1 to 249 letters, "),
        ({"NS_KAFKA_TOPIC": "x" * 243 + "{channel}"}, "NS_KAFKA_TOPIC: must be 1 to 249 letters, "),
        ({"NS_KAFKA_DLQ_TOPIC": "dead letters"}, "NS_KAFKA_DLQ_TOPIC: must be 1 to 249 letters, "),
        ({"NS_KAFKA_DLQ_TOPIC": "{channel}.DLQ"}, "NS_KAFKA_DLQ_TOPIC: must be 1 to 249 letters, "),
        ({"NS_KAFKA_DLQ_TOPIC": "notifications"}, "NS_KAFKA_DLQ_TOPIC: must not be NS_KAFKA_TOPIC"),
        ({PROTOCOL: "TLS"}, f"{PROTOCOL}: should be 'PLAINTEXT', 'SSL', "),
        (
            {PROTOCOL: "SASL_SSL", "NS_KAFKA_SASL_USERNAME": "ann"},
            "NS_KAFKA_SASL_USERNAME and NS_KAFKA_SASL_PASSWORD: set both; ",
        ),
        (USER, f"{PROTOCOL}: must be SASL_SSL or SASL_PLAINTEXT for NS_KAFKA_SASL_* to be used; "),
        ({"NS_KAFKA_SSL_CAFILE": "ca.pem"}, f"{PROTOCOL}: must be SSL or SASL_SSL for NS_KAFKA_SSL_* "),
        ({"NS_KAFKA_SSL_CAFILE": "absent.pem"}, "NS_KAFKA_SSL_CAFILE: Path does not point to a file"),
        (
            {PROTOCOL: "SSL", "NS_KAFKA_SSL_KEYFILE": "ca.pem"},
            "NS_KAFKA_SSL_CERTFILE: is missing; NS_KAFKA_SSL_KEYFILE is set",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], line: str
) -> None:
    (tmp_path / "ca.pem").touch()
    set_all(monkeypatch, variables)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(line)
    assert len(caught.value.problems) == 1
    assert "geheim" not in str(caught.value)
