"""Who is signed in: the session cookie, and the tokens that prove a form is ours."""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from notification_service.domain.errors import NotAuthenticatedError
from notification_service.domain.people import Principal, Session
from notification_service.entrypoints.api.bodies import read_form
from notification_service.entrypoints.api.security import service_of
from notification_service.entrypoints.web.pages import go_to, is_navigation

SESSION_LIFETIME = timedelta(days=7)

type Handler = Callable[[Request], Awaitable[Response]]
type SessionHandler = Callable[[Request, Session], Awaitable[Response]]


def signed_in(handler: SessionHandler) -> Handler:
    """Let only people with a session reach the handler; lead others to the sign-in page."""

    async def guarded(request: Request) -> Response:
        session = await current_session(request)
        if session:
            return await handler(request, session)
        return sign_in_first(request)

    return guarded


def sign_in_first(request: Request) -> Response:
    """Lead a person to the sign-in page; raise `NotAuthenticatedError` for a script."""
    if is_navigation(request):
        return go_to("/")
    raise NotAuthenticatedError("Not authenticated")


async def current_session(request: Request) -> Session | None:
    """Return the session the request's cookie stands for, or None."""
    value = request.cookies.get(_cookie_name(request))
    return await service_of(request).sessions.get(secret_hash(value)) if value else None


async def begin_session(request: Request, principal: Principal) -> Response:
    """Sign the person in under a new cookie value, whatever cookie came along, and lead to the mailbox."""
    await end_session(request)
    value = secrets.token_urlsafe(32)
    session = Session(principal=principal, csrf_token=secrets.token_urlsafe(32))
    await service_of(request).sessions.add(secret_hash(value), session, lifetime=SESSION_LIFETIME)
    response = go_to("/mailbox")
    set_cookie(request, response, value, lifetime=SESSION_LIFETIME)
    return response


async def end_session(request: Request) -> None:
    """Forget the session of the request's cookie, if there is one."""
    value = request.cookies.get(_cookie_name(request))
    if value:
        await service_of(request).sessions.remove(secret_hash(value))


def set_cookie(request: Request, response: Response, value: str, *, lifetime: timedelta) -> None:
    """Keep the session's value in the browser, out of reach of scripts and of other sites' requests."""
    response.set_cookie(
        _cookie_name(request),
        value,
        max_age=int(lifetime.total_seconds()),
        path="/",
        secure=not service_of(request).settings.is_development,
        httponly=True,
        samesite="lax",
    )


def forget_cookie(request: Request, response: Response) -> None:
    """Take the session's value out of the browser."""
    set_cookie(request, response, "", lifetime=timedelta())


def _cookie_name(request: Request) -> str:
    # A browser takes a name with this prefix only from a secure page of exactly this host.
    return "ns_session" if service_of(request).settings.is_development else "__Host-ns_session"


def secret_hash(secret: str) -> bytes:
    """Return what the store knows a link or a cookie by."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def same_secret(given: str, expected: str) -> bool:
    """Compare two tokens without telling by the time it takes how much of them agrees."""
    return bool(expected) and hmac.compare_digest(
        given.encode(errors="replace"), expected.encode(errors="replace")
    )


async def is_own_form(request: Request, session: Session) -> bool:
    """Whether the submitted form carries the session's token, so that no other site made it."""
    return same_secret((await read_form(request)).get("csrf_token", ""), session.csrf_token)
