import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import override

import pytest

from notification_service.adapters.providers.simulated import SimulatedProvider
from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.errors import PermanentDeliveryError, TransientDeliveryError
from notification_service.domain.notification import Message, ProviderReceipt
from notification_service.ports import Provider
from tests.providers.conformance import ProviderConformance, Rig
from tests.providers.messages import email, message


class SimulatedRig(Rig):
    """Luck at the test's command; nothing sleeps."""

    def __init__(self) -> None:
        self.luck = 0.9
        self.slept: list[float] = []
        self.receipts: list[str] = []
        self.provider = SimulatedProvider(
            latency=timedelta(milliseconds=250),
            transient_share=0.2,
            permanent_share=0.1,
            random=lambda: self.luck,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    @override
    def keys(self) -> list[str]:
        return self.receipts

    @override
    def message(self) -> Message:
        return message(email())

    @override
    def refuse_for_now(self) -> None:
        self.luck = 0.15

    @override
    def refuse_for_good(self) -> None:
        self.luck = 0.05

    @override
    def accept(self) -> None:
        self.luck = 0.9

    @override
    async def send(self, message: Message) -> ProviderReceipt:
        receipt = await super().send(message)
        self.receipts.append(receipt.reference or "")
        return receipt


class TestSimulatedProvider(ProviderConformance):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[SimulatedRig]:
        rig = SimulatedRig()
        async with rig.provider:
            yield rig

    async def test_it_takes_as_long_as_it_is_told(self, rig: SimulatedRig) -> None:
        """The latency is slept before the luck is drawn."""
        await rig.send(rig.message())

        assert rig.slept == [0.25]

    async def test_it_serves_every_channel(self, rig: SimulatedRig) -> None:
        """It can stand in for any provider."""
        provider: Provider = rig.provider

        assert provider.channels == frozenset(CHANNEL_TYPES)


async def test_the_shares_are_what_they_say() -> None:
    """Of a hundred evenly spread draws, ten fail for good and twenty for now."""
    draws = itertools.count()
    provider = SimulatedProvider(
        transient_share=0.2, permanent_share=0.1, random=lambda: (next(draws) + 0.5) / 100
    )
    endings: list[type[Exception] | None] = []

    for _ in range(100):
        try:
            await provider.send(message(email()))
        except Exception as error:
            endings.append(type(error))
        else:
            endings.append(None)

    assert endings.count(PermanentDeliveryError) == 10
    assert endings.count(TransientDeliveryError) == 20


@pytest.mark.parametrize(("transient", "permanent"), [(-0.1, 0), (0, -0.1), (0.6, 0.5), (1.1, 0)])
def test_impossible_shares_are_refused(transient: float, permanent: float) -> None:
    """A share is a part of the whole."""
    with pytest.raises(ValueError, match="at most 1"):
        SimulatedProvider(transient_share=transient, permanent_share=permanent, random=lambda: 0.0)
