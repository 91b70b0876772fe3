"""Which provider delivers each channel, as the settings have it."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta

from notification_service.adapters.providers.guard import OutboundGuard
from notification_service.adapters.providers.mailbox import MailboxProvider
from notification_service.adapters.providers.simulated import SimulatedProvider
from notification_service.adapters.providers.smtp import SmtpProvider
from notification_service.adapters.providers.webhook import WebhookProvider
from notification_service.application.batcher import Batcher
from notification_service.application.deliver import Route
from notification_service.domain.channels import ChannelType
from notification_service.domain.mailbox import MailboxMessage
from notification_service.domain.retry import RetryPolicy
from notification_service.ports import NotificationStore, Provider
from notification_service.settings import Settings

MOST_SMTP_CONNECTIONS = 20
"""Mail servers commonly refuse more than a few dozen from one client."""


def routes_of(
    settings: Settings, store: NotificationStore, kept: Batcher[MailboxMessage, None]
) -> dict[ChannelType, Route]:
    """Return how each channel is delivered; one without a provider is left out."""
    names: dict[ChannelType, Sequence[str]] = {
        "email": settings.email_providers,
        "sms": settings.sms_providers,
        "push": settings.push_providers,
        "webhook": ("webhook",),
    }
    makers: dict[str, Callable[[], Provider]] = {
        "mailbox": lambda: MailboxProvider(
            put=kept.submit, now=store.now, sender=settings.email_from or "notifications@localhost"
        ),
        "simulated": lambda: _simulated(settings),
        "smtp": lambda: _smtp(settings, store),
        "webhook": lambda: _webhook(settings, store),
    }
    # The first of a channel's providers is used; the others stand by.
    used = {channel: chosen[0] for channel, chosen in names.items() if chosen}
    made: dict[str, Provider] = {name: makers[name]() for name in sorted(set(used.values()))}
    return {
        channel: Route(
            provider=made[name],
            policy=policy_of(settings, channel),
            concurrency=_smtp_connections(settings) if name == "smtp" else settings.worker_concurrency,
        )
        for channel, name in used.items()
    }


def _simulated(settings: Settings) -> Provider:
    return SimulatedProvider(
        latency=timedelta(seconds=settings.simulated_latency_seconds),
        transient_share=settings.simulated_transient_share,
        permanent_share=settings.simulated_permanent_share,
        random=random.random,
    )


def _smtp(settings: Settings, store: NotificationStore) -> Provider:
    return SmtpProvider(
        url=settings.smtp_url.get_secret_value() if settings.smtp_url else "",
        sender=settings.email_from or "",
        connections=_smtp_connections(settings),
        timeout=timedelta(seconds=settings.send_timeout_seconds),
        now=store.now,
    )


def _smtp_connections(settings: Settings) -> int:
    return min(settings.worker_concurrency, MOST_SMTP_CONNECTIONS)


def _webhook(settings: Settings, store: NotificationStore) -> Provider:
    guard = OutboundGuard(
        require_https=not settings.is_development,
        allowed_networks=settings.webhook_allowed_networks,
    )
    return WebhookProvider(
        secret=settings.webhook_secret.get_secret_value(),
        guard=guard,
        timeout=timedelta(seconds=settings.send_timeout_seconds),
        now=store.now,
    )


def policy_of(settings: Settings, channel: ChannelType) -> RetryPolicy:
    """Return how often and when a channel is tried."""
    return RetryPolicy(
        max_retries=settings.max_retries,
        schedule=settings.retry_schedule_for(channel),
        hold_ambiguous=settings.hold_ambiguous(channel),
    )
