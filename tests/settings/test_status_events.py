"""Status events need a name, a broker that others read, and PostgreSQL."""

import pytest

from notification_service.settings import load_settings
from tests.settings.test_values import refusal

POSTGRES = "postgresql://service@db/notifications"


def test_they_are_off_unless_a_topic_or_exchange_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().status_events is None

    monkeypatch.setenv("NS_DATABASE_URL", POSTGRES)
    monkeypatch.setenv("NS_STATUS_EVENTS", "notifications.status")
    for broker in ("kafka", "rabbitmq"):
        monkeypatch.setenv("NS_BROKER", broker)
        assert load_settings().status_events == "notifications.status"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"NS_BROKER": "embedded"},
            "NS_STATUS_EVENTS: needs a broker that others can read; set NS_BROKER to kafka or rabbitmq",
        ),
        (
            {"NS_DATABASE_URL": "sqlite:///x.db"},
            "NS_STATUS_EVENTS: needs a PostgreSQL database; set NS_DATABASE_URL to postgresql://…",
        ),
        (
            {"NS_KAFKA_TOPIC": "status"},
            "NS_STATUS_EVENTS: must not be a topic of NS_KAFKA_TOPIC or NS_KAFKA_DLQ_TOPIC",
        ),
        (
            {"NS_KAFKA_TOPIC": "work.{channel}", "NS_STATUS_EVENTS": "work.sms"},
            "NS_STATUS_EVENTS: must not be a topic of NS_KAFKA_TOPIC or NS_KAFKA_DLQ_TOPIC",
        ),
        (
            {"NS_KAFKA_DLQ_TOPIC": "status"},
            "NS_STATUS_EVENTS: must not be a topic of NS_KAFKA_TOPIC or NS_KAFKA_DLQ_TOPIC",
        ),
        (
            {"NS_BROKER": "rabbitmq", "NS_STATUS_EVENTS": "notifications.direct"},
            "NS_STATUS_EVENTS: must not be an exchange of the work, nor begin with amq.",
        ),
        (
            {"NS_BROKER": "rabbitmq", "NS_STATUS_EVENTS": "amq.topic"},
            "NS_STATUS_EVENTS: must not be an exchange of the work, nor begin with amq.",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str
) -> None:
    usual = {"NS_STATUS_EVENTS": "status", "NS_BROKER": "kafka", "NS_DATABASE_URL": POSTGRES}

    assert refusal(monkeypatch, **(usual | variables)) == line


@pytest.mark.parametrize("switch", ["true", "False", "0"])
def test_a_switch_is_no_name(monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    message = refusal(monkeypatch, NS_STATUS_EVENTS=switch)

    assert message.startswith("NS_STATUS_EVENTS: must name a topic or exchange, for instance")
