"""What could not be delivered, for administrators."""

from starlette.requests import Request
from starlette.responses import Response

from notification_service.domain.filters import DeadLetterFilter
from notification_service.domain.notification import DeadLetterId
from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.answers import json_response
from notification_service.entrypoints.api.bodies import read_json
from notification_service.entrypoints.api.cursors import cursors_of
from notification_service.entrypoints.api.describe import described
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.queries import (
    DeadLetterQuery,
    read_query,
    refuse_query,
    request_uuid,
)
from notification_service.entrypoints.api.requests import RedriveRequest
from notification_service.entrypoints.api.security import admin, service_of
from notification_service.entrypoints.api.validation import validated

routes = direct_routes(tags=["Dead letters"])


@routes.get(
    "/v1/dead-letters",
    **described("List dead letters", answer=answers.DeadLetterPage, query=DeadLetterQuery, errors=[403]),
)
async def find(request: Request) -> Response:
    """Newest first; only those which nobody has redriven, unless `redriven` says otherwise."""
    admin(request)
    service, cursors = service_of(request), cursors_of(request)
    query = read_query(request, DeadLetterQuery)
    where = DeadLetterFilter(
        reason=query.reason,
        channel=query.channel,
        since=query.since,
        until=query.until,
        redriven=query.redriven,
    )
    after = cursors.read(query.cursor, where)
    rows = await service.dead_letters.find(
        where, limit=query.limit, after=DeadLetterId(after) if after else None
    )
    return json_response(
        answers.page(rows, show=answers.dead_letter, cursor_after=lambda row: cursors.write(row.id, where))
    )


@routes.post(
    "/v1/dead-letters/redrive",
    **described(
        "Redrive by filter", status=202, answer=answers.RedrivenAnswer, body=RedriveRequest, errors=[403]
    ),
)
async def redrive_matching(request: Request) -> Response:
    """Send what matches again, the oldest first, each with a fresh budget of attempts."""
    principal, service = admin(request), service_of(request)
    refuse_query(request)
    document = await read_json(request, limit=service.settings.max_body_bytes)
    wanted = validated(RedriveRequest, document)
    where = DeadLetterFilter(
        reason=wanted.reason, channel=wanted.channel, since=wanted.since, until=wanted.until
    )
    redriven = await service.intervene.redrive_matching(principal, where, limit=wanted.limit)
    return json_response({"redriven": redriven}, 202)


@routes.post(
    "/v1/dead-letters/{id}/redrive",
    **described(
        "Redrive a dead letter",
        status=202,
        answer=answers.DeadLetterAnswer,
        errors=[403, 404, 409],
        has_id=True,
    ),
)
async def redrive(request: Request) -> Response:
    """Send it again with a fresh budget of attempts."""
    principal, service = admin(request), service_of(request)
    redriven = await service.intervene.redrive(principal, DeadLetterId(request_uuid(request)))
    return json_response(answers.dead_letter(redriven), 202)
