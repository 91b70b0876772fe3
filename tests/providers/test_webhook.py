from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from standardwebhooks import Webhook

from notification_service.domain.channels import WebhookChannel
from notification_service.domain.notification import Trail
from tests.providers import http_peer as http
from tests.providers.conformance import RemoteProviderConformance
from tests.providers.messages import NOW, SECRET, message
from tests.providers.webhook_rig import WebhookRig, webhook_provider


class TestWebhookProvider(RemoteProviderConformance):
    """The suite, as it is."""

    @pytest.fixture
    def rig(self, webhook_rig: WebhookRig) -> WebhookRig:
        return webhook_rig

    @pytest.fixture
    def impatient_rig(self, impatient_webhook_rig: WebhookRig) -> WebhookRig:
        return impatient_webhook_rig


async def test_the_request_is_a_standard_webhook(webhook_rig: WebhookRig) -> None:
    """The receiver verifies it with any library of Standard Webhooks, here the reference one."""
    sent = message(
        WebhookChannel(url=webhook_rig.peer.url), body="Grüße ✓", metadata={"order": {"lines": [1, 2]}}
    )

    async with webhook_provider(clock=lambda: datetime.now(UTC)) as provider:
        await provider.send(sent)

    request = webhook_rig.peer.requests[0]
    assert Webhook(SECRET).verify(request.body, request.headers) == {
        "type": "notification",
        "timestamp": "2026-03-01T12:30:00Z",
        "data": {
            "id": str(sent.notification_id),
            "user_id": "user-4242",
            "body": "Grüße ✓",
            "metadata": {"order": {"lines": [1, 2]}},
            "reference": "order-7",
            "created_at": "2026-03-01T12:30:00Z",
        },
    }


async def test_the_headers_are_the_promised_ones(webhook_rig: WebhookRig) -> None:
    """And no others of weight: no cookie, no credentials, nothing compressed."""
    sent = webhook_rig.message()

    await webhook_rig.send(sent)

    request = webhook_rig.peer.requests[0]
    assert (request.method, request.target) == ("POST", "/hooks/4711")
    assert request.headers == {
        "host": f"127.0.0.1:{webhook_rig.peer.port}",
        "user-agent": f"notification-service/{version('notification-service')}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
        "webhook-id": str(sent.notification_id),
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": request.headers["webhook-signature"],
        "x-request-id": "request-1",
        "x-correlation-id": "correlation-1",
    }


async def test_the_trace_goes_on(webhook_rig: WebhookRig) -> None:
    """The receiver's spans can join ours."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trail = Trail(request_id="r", correlation_id="c", traceparent=parent)

    await webhook_rig.send(message(WebhookChannel(url=webhook_rig.peer.url), trail=trail))

    assert webhook_rig.peer.requests[0].headers["traceparent"] == parent


@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a b", "größe", "", "x" * 129])
async def test_what_cannot_stand_in_a_header_is_left_out(webhook_rig: WebhookRig, bad: str) -> None:
    """Another producer's correlation id must not stop a message, nor add to the request."""
    trail = Trail(request_id="r", correlation_id=bad, traceparent=bad)

    await webhook_rig.send(message(WebhookChannel(url=webhook_rig.peer.url), trail=trail))

    headers = webhook_rig.peer.requests[0].headers
    assert not {"x-correlation-id", "traceparent", "x-evil"} & headers.keys()


async def test_every_attempt_has_the_same_body(webhook_rig: WebhookRig) -> None:
    """So that a receiver may compare; the signature's time is the attempt's."""
    sent = webhook_rig.message()
    later = NOW + timedelta(hours=1)

    await webhook_rig.send(sent)
    async with webhook_provider(clock=lambda: later) as provider:
        await provider.send(replace(sent, attempt=2))

    first, second = webhook_rig.peer.requests
    assert first.body == second.body
    assert second.headers["webhook-timestamp"] == str(int(later.timestamp()))


async def test_cookies_are_not_kept(webhook_rig: WebhookRig) -> None:
    """One receiver's cookie is no business of the next message."""
    webhook_rig.peer.behave = http.answering(200, headers="Set-Cookie: session=1; Path=/\r\n")

    await webhook_rig.send(webhook_rig.message())
    await webhook_rig.send(webhook_rig.message())

    assert "cookie" not in webhook_rig.peer.requests[1].headers


async def test_no_proxy_is_taken_from_the_environment(
    webhook_rig: WebhookRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect where the guard can't look."""
    async with http.http_peer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with webhook_provider() as provider:
            await provider.send(webhook_rig.message())

    assert proxy.connections == 0
    assert len(webhook_rig.taken) == 1


@pytest.mark.parametrize(
    "secret", ["", "plain-secret", "whsec_", "whsec_!!!!", "whsec_AAAAA", "c2VjcmV0LXNlY3JldA=="]
)
def test_a_secret_of_another_form_is_refused_unspoken(secret: str) -> None:
    """Standard Webhooks secrets are whsec_ and base64; anything else is a mistake in the settings."""
    with pytest.raises(ValueError, match="whsec_ followed by base64") as caught:
        webhook_provider(secret=secret)

    assert len(secret) < 8 or secret not in str(caught.value)
