"""The broker without a server, on the real bell."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import override

import pytest

from notification_service.adapters.brokers import embedded
from notification_service.adapters.brokers.embedded import EmbeddedBroker
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.domain.channels import ChannelType
from notification_service.domain.events import Parcel
from notification_service.domain.notification import Status
from notification_service.ports import Broker
from tests.brokers.conformance import BrokerConformance
from tests.stores.house import House
from tests.stores.making import a_notification

AT_ONCE = 0.2


@pytest.fixture
async def broker(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedBroker]:
    monkeypatch.setattr(embedded, "POLL", timedelta(milliseconds=400))
    async with House.open(sqlite_url) as house:
        yield EmbeddedBroker(SqlWakeups(house.database))


async def seconds_until_parcel(
    broker: EmbeddedBroker, channel: ChannelType = "email", *, more: bool = False
) -> float:
    began = time.monotonic()
    parcel = await broker.receive(channel, limit=10, more=more)
    assert parcel == Parcel(ids=None)
    return time.monotonic() - began


class TestConformance(BrokerConformance):
    """`ports.Broker`, as far as it holds where the table is the queue."""

    @pytest.fixture(autouse=True)
    def _on_a_house(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    @override
    def make(self) -> Broker:
        return self._broker


def test_stored_is_queued() -> None:
    assert EmbeddedBroker.accepts_as is Status.QUEUED


async def test_everything_published_is_safe(broker: EmbeddedBroker) -> None:
    notifications = [a_notification(), a_notification(channel_type="sms")]

    published = await broker.publish(notifications)

    assert published == {each.id for each in notifications}


async def test_publishing_hands_out_the_channels_of_what_is_published(broker: EmbeddedBroker) -> None:
    await broker.publish([a_notification(), a_notification(channel_type="sms")])

    waited = [await seconds_until_parcel(broker, channel) for channel in ("email", "sms")]

    assert max(waited) < AT_ONCE
    assert await seconds_until_parcel(broker, "push") > AT_ONCE


async def test_a_wake_hands_out_the_channel(broker: EmbeddedBroker) -> None:
    waiting = asyncio.create_task(seconds_until_parcel(broker))
    await asyncio.sleep(0.02)

    await broker.wake(["email"])

    assert await waiting < AT_ONCE


async def test_while_there_may_be_more_nobody_waits(broker: EmbeddedBroker) -> None:
    assert await seconds_until_parcel(broker, more=True) < AT_ONCE


async def test_without_a_ring_there_is_a_look_all_the_same(broker: EmbeddedBroker) -> None:
    waited = await seconds_until_parcel(broker)

    assert AT_ONCE < waited < 1


async def test_publishing_nothing_wakes_nobody(broker: EmbeddedBroker) -> None:
    assert await broker.publish([]) == frozenset()
    assert await seconds_until_parcel(broker) > AT_ONCE


async def test_a_settled_parcel_needs_nothing(broker: EmbeddedBroker) -> None:
    await broker.settled(Parcel())

    assert await seconds_until_parcel(broker) > AT_ONCE
