from collections.abc import AsyncIterator

import pytest

from tests.providers.certificates import Certificate, make_certificate
from tests.providers.conformance import IMPATIENT
from tests.providers.house import House, a_house
from tests.providers.smtp_rig import SmtpRig, an_smtp_rig
from tests.providers.webhook_rig import WebhookRig, a_webhook_rig


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with a_house(monkeypatch) as house:
        yield house


@pytest.fixture
async def webhook_rig() -> AsyncIterator[WebhookRig]:
    async with a_webhook_rig() as rig:
        yield rig


@pytest.fixture
async def smtp_rig() -> AsyncIterator[SmtpRig]:
    async with an_smtp_rig() as rig:
        yield rig


@pytest.fixture
async def impatient_smtp_rig() -> AsyncIterator[SmtpRig]:
    async with an_smtp_rig(timeout=IMPATIENT) as rig:
        yield rig


@pytest.fixture
async def impatient_webhook_rig() -> AsyncIterator[WebhookRig]:
    async with a_webhook_rig(timeout=IMPATIENT) as rig:
        yield rig
