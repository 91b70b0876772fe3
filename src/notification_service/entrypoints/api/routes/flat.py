"""The flat profile: `channel` and `recipient`, answered with 201."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from notification_service.bootstrap import Service
from notification_service.domain.filters import NotificationFilter
from notification_service.domain.notification import Draft, Status
from notification_service.domain.people import Principal
from notification_service.entrypoints.api.accepting import accept_one
from notification_service.entrypoints.api.answers import json_response
from notification_service.entrypoints.api.describe import described
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.flat_models import (
    STATUSES,
    FlatAnswer,
    FlatPage,
    FlatRequest,
    flat,
)
from notification_service.entrypoints.api.queries import FlatQuery, read_query
from notification_service.entrypoints.api.security import caller, service_of
from notification_service.entrypoints.api.validation import validated

routes = direct_routes(tags=["Flat profile"])


@routes.post(
    "/notifications",
    **described(
        "Send a notification (flat)",
        status=201,
        answer=FlatAnswer,
        body=FlatRequest,
        errors=[409, 429],
        idempotent=True,
        counted=True,
    ),
)
async def send(request: Request) -> Response:
    """Store the notification and answer; the caller is its user."""
    return await accept_one(request, prepare=_draft, show=flat, status_code=201)


def _draft(service: Service, principal: Principal, document: Any) -> Draft:
    draft = validated(FlatRequest, document).draft(principal.subject)
    service.accept.require_channel(draft.channel_type)
    return draft


@routes.get("/notifications", **described("List notifications (flat)", answer=FlatPage, query=FlatQuery))
async def find(request: Request) -> Response:
    """Newest first. A user sees its own, an administrator everybody's, whatever profile they came by."""
    principal, service = caller(request), service_of(request)
    query = read_query(request, FlatQuery)
    where = NotificationFilter(
        user_id=None if principal.is_admin else principal.subject,
        statuses=STATUSES[query.status] if query.status else frozenset[Status](),
    )
    rows, total = await service.archive.page(where, number=query.page, size=query.per_page)
    return json_response(
        {"data": [flat(row) for row in rows], "total": total, "page": query.page, "per_page": query.per_page}
    )
