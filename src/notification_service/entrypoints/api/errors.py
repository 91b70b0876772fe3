"""Answers to what went wrong: a problem for programs, a page for people."""

from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from notification_service.domain.errors import NotFoundError, NotificationServiceError, UnavailableError
from notification_service.entrypoints.api.direct import DirectRoute
from notification_service.entrypoints.api.identity import trail_of
from notification_service.entrypoints.api.problems import MethodNotAllowedError, problem_response, status_of


def error_response(request: Request, error: NotificationServiceError) -> Response:
    """Answer with an error: a problem, or outside the API the site's page where a person waits for one."""
    if not isinstance(request.scope.get("route"), DirectRoute):
        status = status_of(error)
        page: Response | None = request.app.state.error_page(
            request, status.phrase, str(error), status=status
        )
        if page:
            return page
    return problem_response(error, trail_of(request).request_id)


async def on_known_error(request: Request, error: Exception) -> Response:
    """Answer with an error of ours."""
    return error_response(request, cast("NotificationServiceError", error))


async def on_timeout(request: Request, _: Exception) -> Response:
    """Answer to a request whose work took too long: it may be tried again."""
    return error_response(request, UnavailableError())


async def on_http_exception(request: Request, _: Exception) -> Response:
    """Answer where no route did: nothing at this path, or nothing for this method."""
    allowed = _allowed_methods(request)
    if not allowed:
        return error_response(request, NotFoundError())
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"Allow": allowed})
    return error_response(request, MethodNotAllowedError(allowed))


def _allowed_methods(request: Request) -> str:
    routes: list[BaseRoute] = request.app.routes
    fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    found = {method for route in fitting for method in _methods(route)}
    return ", ".join(sorted(found | {"OPTIONS"})) if found else ""


def _methods(route: Any) -> set[str]:
    return set(route.answers_to if isinstance(route, DirectRoute) else getattr(route, "methods", None) or ())
