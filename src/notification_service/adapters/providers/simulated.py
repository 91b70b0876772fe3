"""A provider that only pretends: for load tests, demonstrations and practising failure."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Self

from notification_service.domain.channels import CHANNEL_TYPES, ChannelType
from notification_service.domain.errors import PermanentDeliveryError, TransientDeliveryError
from notification_service.domain.notification import Message, ProviderReceipt


class SimulatedProvider:
    """Takes as long as it is told and fails as often as it is told."""

    name = "simulated"
    channels: frozenset[ChannelType] = frozenset(CHANNEL_TYPES)

    def __init__(
        self,
        *,
        latency: timedelta = timedelta(),
        transient_share: float = 0.0,
        permanent_share: float = 0.0,
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`random` draws from [0, 1); the shares are between 0 and 1 and together at most 1."""
        if min(transient_share, permanent_share) < 0 or transient_share + permanent_share > 1:
            raise ValueError("the transient and the permanent share are 0 or more and together at most 1")
        self._latency = latency.total_seconds()
        self._permanent_below = permanent_share
        self._transient_below = permanent_share + transient_share
        self._random = random
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def send(self, message: Message) -> ProviderReceipt:
        """Wait, then take the message or refuse it by the luck of the draw."""
        await self._sleep(self._latency)
        luck = self._random()
        if luck < self._permanent_below:
            raise PermanentDeliveryError(
                "simulated: refused for good", provider=self.name, error_code="simulated_permanent"
            )
        if luck < self._transient_below:
            raise TransientDeliveryError(
                "simulated: refused for now", provider=self.name, error_code="simulated_transient"
            )
        return ProviderReceipt(reference=f"simulated-{message.notification_id}")

    async def check(self) -> str:
        """Say that nothing leaves the house."""
        return "simulated: nothing is sent"
