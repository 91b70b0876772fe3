"""What all POSTs that create notifications share: key, submission, answer."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, cast

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from notification_service.application.submission import Accepted, Outcome, Submission
from notification_service.bootstrap import Service
from notification_service.domain.errors import NotificationServiceError
from notification_service.domain.notification import Draft, Notification
from notification_service.domain.people import Principal
from notification_service.entrypoints.api.answers import raw_json
from notification_service.entrypoints.api.bodies import read_json
from notification_service.entrypoints.api.idempotency import key_of
from notification_service.entrypoints.api.identity import trail_of
from notification_service.entrypoints.api.problems import rate_limit_headers
from notification_service.entrypoints.api.queries import refuse_query
from notification_service.entrypoints.api.security import caller, service_of

type Prepare = Callable[[Service, Principal, Any], Draft]


async def accept_one(
    request: Request, *, prepare: Prepare, show: Callable[[Notification], dict[str, Any]], status_code: int
) -> Response:
    """Accept the one notification in the body: `prepare` makes a draft of it, `show` the answer."""
    started = perf_counter()
    service, principal = service_of(request), caller(request)
    refuse_query(request)
    document = await read_json(request, limit=service.settings.max_body_bytes)
    key = key_of(request, principal, document)
    try:
        draft = prepare(service, principal, document)
    except NotificationServiceError:
        accepted = await service.accept.recall(key)
        if accepted is None:
            raise
    else:
        accepted = await service.accept(
            Submission(
                drafts=(draft,),
                trail=trail_of(request),
                render=lambda outcomes: to_json(show(_only(outcomes))),
                status_code=status_code,
                key=key,
            )
        )
    service.metrics.accept_answered(perf_counter() - started)
    return accepted_response(accepted, rate_limit_headers(accepted.allowance))


def accepted_response(accepted: Accepted, headers: dict[str, str]) -> Response:
    """Answer with what became of a submission."""
    replayed = {"Idempotency-Replayed": "true"} if accepted.replayed else {}
    return raw_json(accepted.answer, accepted.status_code, headers | replayed)


def _only(outcomes: Sequence[Outcome]) -> Notification:
    """Return the notification of a submission of one: had it been refused, nothing would be rendered."""
    [outcome] = outcomes
    return cast("Notification", outcome)
