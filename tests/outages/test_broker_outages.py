"""Kafka and RabbitMQ missing, lost and hanging: everything is accepted, and delivered once they are back."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.outages.postgres import OwnPostgres
from tests.outages.site import READY_SECONDS, Site, a_site, repeating
from tests.outages.stand import a_stand, events, readiness, until, until_missing, until_ready
from tests.services.kafka import OwnKafka
from tests.services.rabbitmq import OwnRabbitmq

pytestmark = [pytest.mark.timeout(150), pytest.mark.postgres]

ACCEPT_SECONDS = 2.5
"""One that tells that the broker hangs, one to correct the answer, and what a busy machine adds."""
RETURN_SECONDS = 30
FROZEN_SECONDS = 5.0


@dataclass(frozen=True)
class Broker:
    """A broker that runs, and how the service finds it."""

    name: str
    server: OwnKafka | OwnRabbitmq
    settings: dict[str, str]


@pytest.fixture(
    params=[
        pytest.param("kafka", marks=pytest.mark.kafka),
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
    ]
)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Give each broker."""
    server = request.getfixturevalue(f"own_{request.param}")
    if isinstance(server, OwnKafka):
        yield Broker("kafka", server, {"NS_BROKER": "kafka", "NS_KAFKA_BOOTSTRAP": server.bootstrap})
    else:
        yield Broker("rabbitmq", server, {"NS_BROKER": "rabbitmq", "NS_RABBITMQ_URL": server.url})


async def test_a_broker_that_is_missing_lost_or_hanging_delays_and_refuses_nothing(
    broker: Broker, own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    broker.server.kill()
    settings = {"NS_DATABASE_URL": own_postgres.database(), **broker.settings}
    async with a_stand(tmp_path, **settings) as stand, a_site(stand) as site:
        missing = await readiness(site.app)
        first = await site.traffic.one()
        waiting = await site.caller.get(f"/v1/notifications/{first}")
        told = [event for process in (site.app, site.worker) for event in events(process)]
        await asyncio.to_thread(broker.server.start)
        await until_ready(site.app, seconds=RETURN_SECONDS)
        await site.delivered()

        async with site.traffic.flowing():
            await until(lambda: _is_used(site), "not used", seconds=RETURN_SECONDS)
            await asyncio.to_thread(broker.server.kill)
            lost = await until_missing(site.app, f"broker_{broker.name}", seconds=RETURN_SECONDS)
            count = len(site.traffic.accepted)
            await until(lambda: len(site.traffic.accepted) > count + 100, "nothing accepted")
            await asyncio.to_thread(broker.server.start)
            await until_ready(site.app, seconds=RETURN_SECONDS)
        await site.delivered(seconds=RETURN_SECONDS)

        async with site.traffic.flowing(), repeating(lambda: readiness(site.app), every=0.2) as looks:
            broker.server.freeze()
            await asyncio.sleep(FROZEN_SECONDS)
            hanging = await readiness(site.app)
            broker.server.thaw()
            await until_ready(site.app, seconds=RETURN_SECONDS)
        await site.delivered(seconds=RETURN_SECONDS)

        for seen in (missing, lost, hanging):
            assert (seen.code, seen.status) == (200, "degraded")
            assert list(seen.missing()) == [f"broker_{broker.name}"]
        assert told.count("broker_lost") >= 2
        assert waiting.document["status"] == "pending"
        assert not site.traffic.refusals()
        assert site.traffic.slowest < ACCEPT_SECONDS
        assert max(looks) < READY_SECONDS


def _is_used(site: Site) -> bool:
    """Whether the latest answers say that the broker took what was accepted."""
    latest = [each.answer.document["status"] for each in site.traffic.told[-20:]]
    return latest == ["queued"] * 20
