"""What would have been sent, while the mailbox stands in for a provider."""

from starlette.requests import Request
from starlette.responses import Response

from notification_service.bootstrap import Service
from notification_service.domain.errors import NotFoundError
from notification_service.domain.mailbox import MailboxFilter, MailboxMessageId
from notification_service.domain.notification import NotificationId
from notification_service.domain.people import Principal
from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.answers import json_response
from notification_service.entrypoints.api.cursors import cursors_of
from notification_service.entrypoints.api.describe import described
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.queries import (
    MailboxQuery,
    MailboxSelection,
    read_query,
    request_uuid,
)
from notification_service.entrypoints.api.security import caller, service_of

NOT_IN_USE = "the mailbox is not in use; it is while NS_EMAIL_PROVIDERS, _SMS_ or _PUSH_ name it first"

routes = direct_routes(tags=["Mailbox"])


@routes.get(
    "/v1/mailbox",
    **described("List messages", answer=answers.MailboxPage, query=MailboxQuery, errors=[404]),
)
async def find(request: Request) -> Response:
    """Newest first. A user sees its own messages, an administrator all."""
    principal, service, cursors = caller(request), _service(request), cursors_of(request)
    query = read_query(request, MailboxQuery)
    where = _filter(query, principal)
    after = cursors.read(query.cursor, where)
    rows = await service.mailbox.find(
        where, limit=query.limit, after=MailboxMessageId(after) if after else None
    )
    return json_response(
        answers.page(
            rows, show=answers.mailbox_message, cursor_after=lambda row: cursors.write(row.id, where)
        )
    )


@routes.get(
    "/v1/mailbox/{id}",
    **described("Look at a message", answer=answers.MailboxMessageAnswer, errors=[403, 404], has_id=True),
)
async def read(request: Request) -> Response:
    """The message as its receiver would have got it."""
    principal, service = caller(request), _service(request)
    message = await service.mailbox.get(MailboxMessageId(request_uuid(request)))
    if message is None:
        raise NotFoundError
    principal.require_owner(message.user_id)
    return json_response(answers.mailbox_message(message))


@routes.delete(
    "/v1/mailbox",
    **described("Empty the mailbox", status=204, answer=None, query=MailboxSelection, errors=[404]),
)
async def clear(request: Request) -> Response:
    """Delete what matches: of one's own messages, an administrator of all."""
    principal, service = caller(request), _service(request)
    await service.mailbox.clear(_filter(read_query(request, MailboxSelection), principal))
    return Response(status_code=204)


def _service(request: Request) -> Service:
    service = service_of(request)
    if not service.uses_mailbox:
        raise NotFoundError(NOT_IN_USE)
    return service


def _filter(query: MailboxSelection, principal: Principal) -> MailboxFilter:
    return MailboxFilter(
        user_id=None if principal.is_admin else principal.subject,
        to=query.to,
        channel=query.channel,
        notification_id=NotificationId(query.notification_id) if query.notification_id else None,
        since=query.since,
    )
