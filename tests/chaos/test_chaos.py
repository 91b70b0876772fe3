"""The chaos harness in small: a minute of faults, and a bug that it has to find."""

import pytest

from tests.chaos.planted import PLANTS
from tests.chaos.run import run
from tests.chaos.sizes import minute, planted

pytestmark = [pytest.mark.timeout(300), pytest.mark.postgres, pytest.mark.redis]

BROKERS = [
    "embedded",
    pytest.param("kafka", marks=pytest.mark.kafka),
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
]


@pytest.mark.parametrize("broker", BROKERS)
async def test_nothing_accepted_is_lost_whatever_fails(broker: str) -> None:
    """Every server and process is killed, frozen and cut off; afterwards the count is exact."""
    report = await run(minute(broker))

    assert report.is_good, [report.line(), *report.complaints()]
    assert {"app", "worker", "postgres", "redis"} <= report.kills.keys()


async def test_the_harness_finds_what_it_is_for() -> None:
    """Answering before the commit: with a kill, what was promised is gone."""
    report = await run(planted("answers-before-the-commit"))

    assert "lost" in report.broken


def test_every_plant_names_a_broker_on_which_it_shows() -> None:
    assert {plant.broker for plant in PLANTS.values()} == {"embedded", "kafka", "rabbitmq"}
