"""Reads messages out of the mailbox, each person's own and an administrator's all."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from notification_service.bootstrap import Service
from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.mailbox import MailboxFilter, MailboxMessage, MailboxMessageId
from notification_service.domain.notification import NotificationId, Status
from notification_service.domain.people import Principal
from notification_service.entrypoints.web import resources

PAGE_SIZE = 50
WATCHED = 10
"""How many of the newest messages tell whether something changed; one more than the very newest, because
messages of several workers may be stored out of their order."""
LONGEST_SEARCH = 200


def everything_of(principal: Principal) -> MailboxFilter:
    """Return the filter for all that this person may see."""
    return MailboxFilter(user_id=None if principal.is_admin else principal.subject)


def filter_from(query: Mapping[str, str], principal: Principal) -> MailboxFilter:
    """Narrow what this person may see down to what the page asks for."""
    channel = query.get("channel", "")
    search = query.get("search", "").replace("\x00", "").strip()[:LONGEST_SEARCH]
    return MailboxFilter(
        user_id=everything_of(principal).user_id,
        channel=channel if channel in CHANNEL_TYPES else None,
        search=search or None,
    )


def message_id(text: str) -> MailboxMessageId | None:
    """Read an id out of an address; None when it is none."""
    try:
        return MailboxMessageId(UUID(text))
    except ValueError:
        return None


async def find_message(service: Service, text: str, principal: Principal) -> MailboxMessage | None:
    """Return the message if it exists and this person may see it."""
    wanted = message_id(text)
    found = await service.mailbox.get(wanted) if wanted else None
    return found if found and principal.may_act_for(found.user_id) else None


async def list_messages(
    service: Service, where: MailboxFilter, *, after: MailboxMessageId | None = None
) -> dict[str, Any]:
    """Return a page of the list, newest first, with the version that `wait_for_change` compares."""
    found = await service.mailbox.find(where, limit=PAGE_SIZE, after=after)
    statuses = await _statuses(service, found.rows)
    return {
        "messages": [resources.summary(each, statuses.get(each.notification_id)) for each in found.rows],
        "has_more": found.has_more,
        "version": version_of(found.rows),
    }


async def current_version(service: Service, where: MailboxFilter) -> str:
    """Return what `list_messages` would give as its version, at the price of a few rows."""
    return version_of((await service.mailbox.find(where, limit=WATCHED)).rows)


def version_of(rows: Iterable[MailboxMessage]) -> str:
    """Name the newest messages; another name means that some came or went."""
    newest = b"".join(row.id.bytes for row in list(rows)[:WATCHED])
    return hashlib.sha256(newest).hexdigest()[:16]


async def _statuses(service: Service, rows: Sequence[MailboxMessage]) -> dict[NotificationId, Status]:
    wanted = {row.notification_id for row in rows}
    return {each.id: each.status for each in await service.archive.get_many(wanted)}
