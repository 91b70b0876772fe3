"""The way in and the way out: password, one-time link, sign out."""

import secrets
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from notification_service.application.patience import TooManyAttemptsError
from notification_service.domain.errors import InvalidCredentialsError
from notification_service.domain.people import Session
from notification_service.entrypoints.api.bodies import read_form
from notification_service.entrypoints.api.security import client_address, service_of
from notification_service.entrypoints.web.pages import (
    PRIVATE,
    go_to,
    is_from_elsewhere,
    notice,
    page,
)
from notification_service.entrypoints.web.sessions import (
    begin_session,
    current_session,
    end_session,
    forget_cookie,
    is_own_form,
    same_secret,
    secret_hash,
    sign_in_first,
    signed_in,
)

FORM_COOKIE = "ns_form"
FORM_LIFETIME = timedelta(hours=12)


async def show(request: Request) -> Response:
    """Show the sign-in page, or lead on who is signed in already."""
    if await current_session(request):
        return go_to("/mailbox")
    return _sign_in_page(request)


async def sign_in(request: Request) -> Response:
    """Sign in with a name and a password."""
    form = await read_form(request)
    username = form.get("username", "")
    if is_from_elsewhere(request) or not same_secret(
        form.get("form_token", ""), request.cookies.get(FORM_COOKIE, "")
    ):
        return _sign_in_page(
            request, username, "This form was open for too long. Please try again.", status=403
        )
    try:
        principal = await service_of(request).people.sign_in(
            username, form.get("password", ""), address=client_address(request)
        )
    except InvalidCredentialsError:
        return _sign_in_page(request, username, "Wrong username or password.", status=401)
    except TooManyAttemptsError as error:
        return _sign_in_page(request, username, f"{str(error).capitalize()}.", status=429)
    return await begin_session(request, principal)


def _sign_in_page(request: Request, username: str = "", error: str = "", *, status: int = 200) -> Response:
    # Nobody is signed in yet, so the form is proven by a cookie that only our own page could have matched.
    token = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(32)
    response = page("sign_in.html", status=status, form_token=token, username=username, error=error)
    response.set_cookie(
        FORM_COOKIE,
        token,
        max_age=int(FORM_LIFETIME.total_seconds()),
        secure=not service_of(request).settings.is_development,
        httponly=True,
        samesite="lax",
    )
    return response


async def follow_link(request: Request) -> Response:
    """Use a one-time link up and sign in; looking at it without following it leaves it as it is."""
    if request.method == "HEAD":
        return Response(headers=PRIVATE)
    if _is_preview(request):
        return page("follow_link.html", path=request.url.path)
    return await confirm_link(request)


async def confirm_link(request: Request) -> Response:
    """Use a one-time link up and sign in."""
    principal = await service_of(request).sessions.redeem_link(secret_hash(request.path_params["secret"]))
    if principal:
        return await begin_session(request, principal)
    if await current_session(request):  # the second click on a link that has done its work
        return go_to("/mailbox")
    return notice(
        "This link was used already or is too old",
        "A sign-in link works once. Restart the service with `notify up` or `make run`: it prints a new one.",
        status=410,
    )


def _is_preview(request: Request) -> bool:
    """Whether a browser fetches ahead of a click, or a chat program looks what the link is about."""
    headers = request.headers
    purpose = headers.get("sec-purpose", "") + headers.get("purpose", "") + headers.get("x-moz", "")
    robot = any(
        word in headers.get("user-agent", "").lower() for word in ("bot", "preview", "crawl", "externalhit")
    )
    return bool(purpose) or robot or headers.get("sec-fetch-mode", "navigate") != "navigate"


async def follow_logout(request: Request) -> Response:
    """Sign out who came here on purpose; ask whom another site or a browser looking ahead sent here."""
    session = await current_session(request)
    if session and (is_from_elsewhere(request) or _is_preview(request)):
        return page("sign_out.html", csrf_token=session.csrf_token)
    return await _sign_out(request)


@signed_in
async def sign_out(request: Request, session: Session) -> Response:
    """End the session."""
    if not await is_own_form(request, session):
        return page("sign_out.html", status=403, csrf_token=session.csrf_token)
    return await _sign_out(request)


async def _sign_out(request: Request) -> Response:
    await end_session(request)
    response = go_to("/")
    forget_cookie(request, response)
    return response


async def dashboard(request: Request) -> Response:
    """Lead to the mailbox, which is all there is to see so far."""
    if await current_session(request):
        return go_to("/mailbox")
    return sign_in_first(request)
