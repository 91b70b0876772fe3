"""Sending many notifications in one request."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from notification_service.application.submission import Accepted, Outcome, RateLimitedError, Submission
from notification_service.bootstrap import Service
from notification_service.domain.errors import NotificationServiceError, OverloadedError
from notification_service.domain.notification import Draft, Notification
from notification_service.domain.people import Principal
from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.accepting import accepted_response
from notification_service.entrypoints.api.bodies import read_json
from notification_service.entrypoints.api.describe import described
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.idempotency import key_of
from notification_service.entrypoints.api.identity import trail_of
from notification_service.entrypoints.api.problems import problem
from notification_service.entrypoints.api.queries import refuse_query
from notification_service.entrypoints.api.requests import BulkRequest
from notification_service.entrypoints.api.routes.notifications import draft_of
from notification_service.entrypoints.api.security import caller, service_of
from notification_service.entrypoints.api.validation import validated

LARGEST_BODY = 5 * 1024 * 1024
PLACES = 8
"""So many calls are worked on at once: each holds its body and all that is made of it."""
PATIENCE = timedelta(seconds=1)
"""How long a call waits for a place."""
ITEMS_IN_A_ROW = 50
"""So many are judged before other requests get their turn."""

type Judged = Draft | NotificationServiceError

routes = direct_routes(tags=["Notifications"])


@routes.post(
    "/v1/notifications/bulk",
    **described(
        "Send many notifications",
        status=202,
        answer=answers.BulkAnswer,
        body=BulkRequest,
        errors=[409],
        idempotent=True,
    ),
)
async def send_many(request: Request) -> Response:
    """Store the good ones in one transaction; a bad one is rejected alone. Results keep the order."""
    principal = caller(request)
    refuse_query(request)
    async with _place(request):
        return await _send_many(request, principal)


@asynccontextmanager
async def _place(request: Request) -> AsyncGenerator[None]:
    """Hold one of the few places; raises `OverloadedError` when none becomes free in time."""
    places: asyncio.Semaphore = request.app.state.bulk_places
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await places.acquire()
    except TimeoutError:
        raise OverloadedError from None
    try:
        yield
    finally:
        places.release()


async def _send_many(request: Request, principal: Principal) -> Response:
    service = service_of(request)
    document = await read_json(request, limit=LARGEST_BODY)
    key = key_of(request, principal, document)
    items = validated(BulkRequest, document).notifications
    judged = await _judge(service, principal, items)
    trail = trail_of(request)
    submission = Submission(
        drafts=tuple(each for each in judged if isinstance(each, Draft)),
        trail=trail,
        render=lambda outcomes: _render(judged, outcomes, trail.request_id),
        status_code=202,
        key=key,
    )
    return accepted_response(await _submit(service, submission), {})


async def _judge(service: Service, principal: Principal, items: Sequence[Any]) -> list[Judged]:
    judged: list[Judged] = []
    for number, item in enumerate(items, start=1):
        judged.append(_draft_or_error(service, principal, item))
        if number % ITEMS_IN_A_ROW == 0:
            await asyncio.sleep(0)
    return judged


def _draft_or_error(service: Service, principal: Principal, item: Any) -> Judged:
    try:
        return draft_of(service, principal, item)
    except NotificationServiceError as error:
        return error


async def _submit(service: Service, submission: Submission) -> Accepted:
    """When every item is rejected nothing is stored, and nothing kept under the key."""
    if not submission.drafts:
        kept = await service.accept.recall(submission.key)
        return kept or Accepted(answer=submission.render(()), status_code=submission.status_code)
    try:
        return await service.accept(submission)
    except RateLimitedError as error:  # the only draft there was
        return Accepted(answer=submission.render((error,)), status_code=submission.status_code)


def _render(judged: Sequence[Judged], outcomes: Sequence[Outcome], request_id: str) -> bytes:
    """Merge what was rejected here with what became of the drafts, in the order of the request."""
    drafted = iter(outcomes)
    results = [
        _result(index, next(drafted) if isinstance(each, Draft) else each, request_id)
        for index, each in enumerate(judged)
    ]
    accepted = sum(result["status"] == "accepted" for result in results)
    return to_json({"results": results, "accepted": accepted, "rejected": len(results) - accepted})


def _result(index: int, outcome: Notification | NotificationServiceError, request_id: str) -> dict[str, Any]:
    if isinstance(outcome, Notification):
        return {"index": index, "status": "accepted", "notification": answers.notification(outcome)}
    return {"index": index, "status": "rejected", "error": problem(outcome, request_id)}
