from datetime import timedelta

import pytest

from notification_service.domain.errors import (
    DeliveryError,
    PermanentDeliveryError,
    TransientDeliveryError,
)
from tests.providers import http_peer as http
from tests.providers.conformance import failure
from tests.providers.webhook_rig import WebhookRig


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_receipt(webhook_rig: WebhookRig, status: int) -> None:
    """The receiver took it; it doesn't vouch for more."""
    webhook_rig.peer.behave = http.answering(status)

    receipt = await webhook_rig.send(webhook_rig.message())

    assert not receipt.confirmed


@pytest.mark.parametrize(
    ("status", "kind"),
    [(status, TransientDeliveryError) for status in (408, 425, 429, 500, 502, 503, 504, 599)]
    + [(status, PermanentDeliveryError) for status in (400, 401, 403, 404, 409, 410, 413, 422, 451)],
)
async def test_a_status_says_whether_to_come_back(
    webhook_rig: WebhookRig, status: int, kind: type[DeliveryError]
) -> None:
    """The statuses are Standard Webhooks' advice and RFC 9110's meaning."""
    webhook_rig.peer.behave = http.answering(status, body=b"no such hook")

    error = await failure(webhook_rig)

    assert type(error) is kind
    assert error.error_code == f"http_{status}"
    assert error.detail == f"the receiver answered {status}: no such hook"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_redirects_are_not_followed(webhook_rig: WebhookRig, status: int) -> None:
    """The guard judged the address that was given, not the one a stranger names."""
    async with http.http_peer() as elsewhere:
        webhook_rig.peer.behave = http.answering(status, headers=f"Location: {elsewhere.url}\r\n")

        error = await failure(webhook_rig)

    assert type(error) is PermanentDeliveryError
    assert error.error_code == f"http_{status}"
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", timedelta(seconds=120)),
        ("0", timedelta()),
        ("Sun, 01 Mar 2026 12:31:30 GMT", timedelta(seconds=90)),
        ("Sunday, 01-Mar-26 12:31:30 GMT", timedelta(seconds=90)),
        ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta()),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 40, None),
        ("Sun, 99 Mar 2026 99:99:99 GMT", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Sun, 01 Mar 2026 12:31:30 +999999999999999999", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_heard(
    webhook_rig: WebhookRig, status: int, value: str, wait: timedelta | None
) -> None:
    """In seconds or as a date; nonsense is no wish at all."""
    webhook_rig.peer.behave = http.answering(status, headers=f"Retry-After: {value}\r\n")

    error = await failure(webhook_rig)

    assert type(error) is TransientDeliveryError
    assert error.retry_after == wait
