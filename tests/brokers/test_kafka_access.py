"""Kafka behind TLS and a password, and what is said when one of them is wrong."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from notification_service.adapters.brokers.kafka_access import KafkaAccess
from notification_service.domain.errors import BrokerUnavailableError
from tests.brokers.conformance import CONSUMED, PATIENCE, answering
from tests.brokers.test_kafka import a_broker
from tests.brokers.test_kafka_group import notifications, receive_all
from tests.providers.certificates import make_certificate
from tests.services import free_port
from tests.services.kafka import KafkaServer, OwnKafka

USERS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="geheim";'
TLS = "listener.name.sasl_ssl.ssl.keystore"


@pytest.fixture(scope="module")
def access(kafka_server: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaAccess]:
    """Start a server that wants TLS and a user, and give what it takes to reach it."""
    folder = tmp_path_factory.mktemp("tls")
    made = make_certificate(folder)
    (folder / "both.pem").write_text(made.key.read_text() + made.certificate.read_text())
    own = OwnKafka(
        guarded_port=free_port(),
        options={
            f"{TLS}.type": "PEM",
            f"{TLS}.location": str(folder / "both.pem"),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": USERS,
        },
    )
    own.start()
    yield KafkaAccess(
        bootstrap=f"localhost:{own.guarded_port}",
        security_protocol="SASL_SSL",
        sasl_username="ann",
        sasl_password="geheim",
        ssl_cafile=str(made.certificate),
    )
    own.close()


async def why(access: KafkaAccess) -> str:
    """What the check and the log say; never the password."""
    with capture_logs() as lines:
        async with a_broker(access, "topic") as broker:
            with pytest.raises(BrokerUnavailableError) as caught:
                await broker.check()
            await asyncio.sleep(0.5)
    (line,) = [line for line in lines if line["event"] == "broker_lost"]
    assert line["reason"] == str(caught.value)
    assert str(access.sasl_password) not in str(lines) + repr(access)
    return str(caught.value)


async def test_a_user_with_its_password_may_work(access: KafkaAccess) -> None:
    async with a_broker(access, "topic") as broker, asyncio.timeout(PATIENCE):
        await answering(broker)
        async with broker.consuming(CONSUMED):
            await broker.publish(notifications(3))

            await receive_all(broker, 3)


async def test_a_wrong_password_is_told_and_not_shown(access: KafkaAccess) -> None:
    reason = await why(replace(access, sasl_password="falsch"))

    assert reason == "Kafka refuses this user; correct NS_KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM"


async def test_a_mechanism_the_server_does_not_have_is_told(access: KafkaAccess) -> None:
    assert "correct NS_KAFKA_SASL" in await why(replace(access, sasl_mechanism="SCRAM-SHA-256"))


async def test_a_certificate_nobody_vouches_for_is_told(access: KafkaAccess, tmp_path: Path) -> None:
    other = make_certificate(tmp_path)

    reason = await why(replace(access, ssl_cafile=str(other.certificate)))

    assert "correct NS_KAFKA_SSL_*" in reason
    assert "CERTIFICATE_VERIFY_FAILED" in reason
