"""What lists can be narrowed by."""

from dataclasses import dataclass
from datetime import datetime

from notification_service.domain.channels import ChannelType
from notification_service.domain.notification import Reason, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFilter:
    """Which notifications to list; what is None or empty doesn't narrow."""

    user_id: str | None = None
    statuses: frozenset[Status] = frozenset()
    channel: ChannelType | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters to list or redrive; what is None doesn't narrow."""

    reason: Reason | None = None
    channel: ChannelType | None = None
    since: datetime | None = None
    until: datetime | None = None
    redriven: bool | None = False
