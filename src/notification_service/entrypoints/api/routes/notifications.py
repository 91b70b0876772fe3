"""Sending one notification, and what becomes of it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from notification_service.bootstrap import Service
from notification_service.domain.filters import NotificationFilter
from notification_service.domain.notification import Draft, Notification, NotificationId
from notification_service.domain.people import Principal
from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.accepting import accept_one
from notification_service.entrypoints.api.answers import json_response
from notification_service.entrypoints.api.cursors import cursors_of
from notification_service.entrypoints.api.describe import described
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.queries import NotificationQuery, read_query, request_uuid
from notification_service.entrypoints.api.requests import NotificationRequest
from notification_service.entrypoints.api.security import caller, service_of
from notification_service.entrypoints.api.validation import validated

routes = direct_routes(tags=["Notifications"])


@routes.post(
    "/v1/notifications",
    **described(
        "Send a notification",
        status=202,
        answer=answers.NotificationAnswer,
        body=NotificationRequest,
        errors=[403, 409, 429],
        idempotent=True,
        counted=True,
    ),
)
async def send(request: Request) -> Response:
    """Store the notification and answer; it is delivered afterwards.

    A 4xx means that nothing was stored. After a 5xx or a broken connection repeat the request with the same
    `Idempotency-Key`.
    """
    return await accept_one(request, prepare=draft_of, show=answers.notification, status_code=202)


def draft_of(service: Service, principal: Principal, document: Any) -> Draft:
    """Return what a caller wants sent; raises whatever is wrong with it."""
    wanted = validated(NotificationRequest, document)
    principal.require_send_for(wanted.user_id)
    draft = wanted.draft(now=service.accept.now())
    service.accept.require_channel(draft.channel_type)
    return draft


@routes.get(
    "/v1/notifications",
    **described("List notifications", answer=answers.NotificationPage, query=NotificationQuery, errors=[403]),
)
async def find(request: Request) -> Response:
    """Newest first. A user sees its own, an administrator everybody's."""
    principal, service, cursors = caller(request), service_of(request), cursors_of(request)
    query = read_query(request, NotificationQuery)
    where = _filter(query, principal)
    after = cursors.read(query.cursor, where)
    rows = await service.archive.find(
        where, limit=query.limit, after=NotificationId(after) if after else None
    )
    return json_response(
        answers.page(rows, show=answers.notification, cursor_after=lambda row: cursors.write(row.id, where))
    )


@routes.get(
    "/v1/notifications/{id}",
    **described("Look at a notification", answer=answers.NotificationAnswer, errors=[403, 404], has_id=True),
)
async def read(request: Request) -> Response:
    """Where it is in its life."""
    principal, service = caller(request), service_of(request)
    return _shown(await service.intervene.read(principal, _id(request)))


@routes.get(
    "/v1/notifications/{id}/attempts",
    **described("Look at its history", answer=answers.HistoryAnswer, errors=[403, 404], has_id=True),
)
async def attempts(request: Request) -> Response:
    """Every attempt, and why it was held, suppressed or expired; oldest first."""
    principal, service, notification_id = caller(request), service_of(request), _id(request)
    notification = await service.intervene.read(principal, notification_id)
    entries = await service.archive.history(notification_id)
    return json_response(answers.history(notification.channel_type, entries))


@routes.post(
    "/v1/notifications/{id}/cancel",
    **described("Cancel it", answer=answers.NotificationAnswer, errors=[403, 404, 409], has_id=True),
)
async def cancel(request: Request) -> Response:
    """Only what is `pending` or `queued` can be cancelled."""
    principal, service = caller(request), service_of(request)
    return _shown(await service.intervene.cancel(principal, _id(request)))


@routes.post(
    "/v1/notifications/{id}/retry",
    **described("Try it again", answer=answers.NotificationAnswer, errors=[403, 404, 409], has_id=True),
)
async def retry(request: Request) -> Response:
    """Only what is `failed`: it gets a fresh budget of attempts, and `retry_count` goes on counting."""
    principal, service = caller(request), service_of(request)
    return _shown(await service.intervene.retry(principal, _id(request)))


def _filter(query: NotificationQuery, principal: Principal) -> NotificationFilter:
    if query.user_id is not None:
        principal.require_owner(query.user_id)
    return NotificationFilter(
        user_id=query.user_id if principal.is_admin else principal.subject,
        statuses=frozenset({query.status} if query.status else ()),
        channel=query.channel,
        created_after=query.created_after,
        created_before=query.created_before,
        reference=query.reference,
    )


def _shown(notification: Notification) -> Response:
    return json_response(answers.notification(notification))


def _id(request: Request) -> NotificationId:
    return NotificationId(request_uuid(request))
