"""How providers end a call in these tests."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from notification_service.domain.errors import (
    AmbiguousDeliveryError,
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from notification_service.domain.notification import Message, ProviderReceipt

FOREVER = 60
SECRETS = {
    "body": "the body nobody may read",
    "to": "secret.address@example.com",
    "subject": "a secret subject",
}


def transient(retry_after: timedelta | None = None) -> DeliveryError:
    return TransientDeliveryError("busy", provider="scripted", error_code="http_503", retry_after=retry_after)


def permanent(detail: str = "no such mailbox", error_code: str = "http_400") -> DeliveryError:
    return PermanentDeliveryError(detail, provider="scripted", error_code=error_code)


def ambiguous() -> DeliveryError:
    return AmbiguousDeliveryError("hung up", provider="scripted", error_code="cut")


async def hang(_: Message) -> ProviderReceipt:
    await asyncio.sleep(FOREVER)
    return ProviderReceipt()


async def confirm(_: Message) -> ProviderReceipt:
    return ProviderReceipt(confirmed=True)


def wait_for(door: asyncio.Event) -> Callable[[Message], Any]:
    async def send(_: Message) -> ProviderReceipt:
        await door.wait()
        return ProviderReceipt()

    return send
