"""The one table from errors to HTTP answers: every error leaves as a problem (RFC 9457)."""

import math
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

from notification_service.application.patience import TooManyAttemptsError
from notification_service.application.submission import RateLimitedError
from notification_service.domain.errors import (
    ChannelNotConfiguredError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidCredentialsError,
    InvalidInputError,
    InvalidStateError,
    NotAuthenticatedError,
    NotFoundError,
    NotificationServiceError,
    RequestInProgressError,
    UnavailableError,
)
from notification_service.ports import Allowance

PROBLEM_TYPE = "application/problem+json"


class BodyTooLargeError(NotificationServiceError):
    """the request body is too large"""

    code = "body_too_large"


class NotJsonError(NotificationServiceError):
    """send the body as application/json in UTF-8, uncompressed"""

    code = "unsupported_media_type"


class NotAFormError(NotificationServiceError):
    """send the body as application/x-www-form-urlencoded in UTF-8"""

    code = "unsupported_media_type"


class BodyTimeoutError(NotificationServiceError):
    """the request body did not arrive in time"""

    code = "request_timeout"


class MethodNotAllowedError(NotificationServiceError):
    """this path does not answer to this method"""

    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        """Name the methods which the path answers to, for the Allow header."""
        super().__init__()
        self.allowed = allowed


class UnexpectedError(NotificationServiceError):
    """something went wrong on our side; it was logged under this request_id"""


STATUS: dict[type, HTTPStatus] = {
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    IdempotencyKeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ChannelNotConfiguredError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    InvalidCredentialsError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    MethodNotAllowedError: HTTPStatus.METHOD_NOT_ALLOWED,
    BodyTimeoutError: HTTPStatus.REQUEST_TIMEOUT,
    InvalidStateError: HTTPStatus.CONFLICT,
    RequestInProgressError: HTTPStatus.CONFLICT,
    BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotJsonError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NotAFormError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyAttemptsError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class FieldProblem(BaseModel):
    """What is wrong where."""

    field: str = Field(description="Dotted path in the request body; empty for the body itself")
    message: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="The short name of the situation, for programs")
    request_id: str
    errors: list[FieldProblem] | None = Field(default=None, description="Always there for a 422")


def status_of(error: Exception) -> HTTPStatus:
    """Return the HTTP status for an error; whatever the table doesn't know is a 500."""
    known = (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return next(known, HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(error: NotificationServiceError, request_id: str) -> dict[str, Any]:
    """Describe an error without repeating anything the caller sent."""
    status = status_of(error)
    described: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(error),
        "code": error.code,
        "request_id": request_id,
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        described["errors"] = [
            {"field": field, "message": message} for field, message in _fields(error).items()
        ]
    return described


def problem_response(error: NotificationServiceError, request_id: str) -> Response:
    """Answer with an error."""
    described = problem(error, request_id)
    return Response(
        to_json(described),
        status_code=described["status"],
        headers=_headers(error),
        media_type=PROBLEM_TYPE,
    )


def rate_limit_headers(allowance: Allowance | None) -> dict[str, str]:
    """Tell a user's standing; nothing when the limiter wasn't asked."""
    if allowance is None:
        return {}
    return {
        "RateLimit-Limit": str(allowance.limit),
        "RateLimit-Remaining": str(allowance.remaining),
        "RateLimit-Reset": str(_whole_seconds(allowance.reset)),
    }


def _fields(error: NotificationServiceError) -> Mapping[str, str]:
    match error:
        case InvalidInputError():
            return error.problems
        case ChannelNotConfiguredError():
            return {"channel.type": str(error)}
        case IdempotencyKeyReusedError():
            return {"Idempotency-Key": "was used for another request"}
        case _:
            return {"": str(error)}


def _headers(error: NotificationServiceError) -> dict[str, str]:
    match error:
        case NotAuthenticatedError() | InvalidCredentialsError():
            return {"WWW-Authenticate": "Bearer"}
        case RateLimitedError():
            return rate_limit_headers(error.allowance) | _retry_after(error.allowance.retry_after)
        case RequestInProgressError() | UnavailableError() | TooManyAttemptsError():
            return _retry_after(error.retry_after)
        case MethodNotAllowedError():
            return {"Allow": error.allowed}
        case BodyTimeoutError():
            # The rest of the body may still arrive: it must not be taken for the next request.
            return {"Connection": "close"}
        case _:
            return {}


def _retry_after(wait: timedelta) -> dict[str, str]:
    return {"Retry-After": str(max(1, _whole_seconds(wait)))}


def _whole_seconds(duration: timedelta) -> int:
    """Round up, but not for what a float lost or gained on its way."""
    return math.ceil(round(duration.total_seconds(), 3))
