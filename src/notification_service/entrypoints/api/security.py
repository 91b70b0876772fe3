"""Who calls: the bearer token of a request, and its address."""

from starlette.requests import Request

from notification_service.bootstrap import Service
from notification_service.domain.errors import NotAuthenticatedError
from notification_service.domain.people import Principal


def service_of(request: Request) -> Service:
    """Return the service which this process runs."""
    service: Service = request.app.state.service
    return service


def caller(request: Request) -> Principal:
    """Return whom the request speaks for; raises `NotAuthenticatedError` without exactly one good token."""
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        raise NotAuthenticatedError
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticatedError
    return service_of(request).tokens.verify(token.strip(" "))


def client_address(request: Request) -> str:
    """Return where the request came from; empty when the server can't tell."""
    return request.client.host if request.client else ""


def admin(request: Request) -> Principal:
    """Return the calling administrator; raises `NotAuthenticatedError` or `ForbiddenError`."""
    principal = caller(request)
    principal.require_admin()
    return principal
