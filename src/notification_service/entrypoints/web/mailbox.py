"""The mailbox page, the data behind it and the documents it shows."""

import re

from starlette.requests import Request
from starlette.responses import Response

from notification_service.domain.errors import NotFoundError
from notification_service.domain.people import Session
from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.security import service_of
from notification_service.entrypoints.web import reading, watching
from notification_service.entrypoints.web.first_steps import first_request
from notification_service.entrypoints.web.pages import PRIVATE, go_to, is_navigation, notice, page
from notification_service.entrypoints.web.sessions import (
    Handler,
    SessionHandler,
    is_own_form,
    signed_in,
)

# The sandbox lets nothing run and nothing load; a link opens a tab of its own, which is what a person who
# tests a sign-up email wants to happen.
DOCUMENT_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
DOCUMENT_HEADERS = PRIVATE | {
    "content-security-policy": DOCUMENT_POLICY,
    "x-dns-prefetch-control": "off",
}

# Written in front of the message's own document, whose later <html>, <head> and <body> tags still count.
DOCUMENT_START = '<!doctype html><meta charset="utf-8"><base target="_blank">'

# Chromium connects to where these elements point before it asks the policy, which would tell the sender that
# the message was opened. Under other names they mean nothing; none of them could load anything here anyway.
CONNECTING_TAG = re.compile("<(?=link|i?frame|object|embed|fencedframe)", re.IGNORECASE)


def while_in_use(handler: SessionHandler) -> Handler:
    """Let signed-in people reach the handler as long as some channel delivers into the mailbox."""

    async def checked(request: Request, session: Session) -> Response:
        in_use = service_of(request).uses_mailbox
        return await handler(request, session) if in_use else _not_in_use(request)

    return signed_in(checked)


def _not_in_use(request: Request) -> Response:
    if not is_navigation(request):
        raise NotFoundError
    return notice(
        "The mailbox is not in use here",
        "This service sends its messages for real. To catch them instead, let NS_EMAIL_PROVIDERS, "
        "NS_SMS_PROVIDERS or NS_PUSH_PROVIDERS begin with mailbox and restart it.",
        status=404,
    )


@while_in_use
async def show(request: Request, session: Session) -> Response:
    """Show the mailbox; its list fills itself and stays live."""
    example = first_request(str(request.base_url), session.principal.subject)
    return page("mailbox.html", principal=session.principal, csrf_token=session.csrf_token, example=example)


@while_in_use
async def messages(request: Request, session: Session) -> Response:
    """List the newest messages, or with `after` those that follow one."""
    where = reading.filter_from(request.query_params, session.principal)
    after = reading.message_id(request.query_params.get("after", ""))
    return _data(await reading.list_messages(service_of(request), where, after=after))


@while_in_use
async def news(request: Request, session: Session) -> Response:
    """Answer with the newest messages once they differ from the version the page knows, else with nothing."""
    where = reading.filter_from(request.query_params, session.principal)
    changed = await watching.wait_for_change(
        service_of(request), where, known=request.query_params.get("version", "")
    )
    if not changed:
        return Response(status_code=204, headers=PRIVATE)
    return _data(await reading.list_messages(service_of(request), where))


@while_in_use
async def message(request: Request, session: Session) -> Response:
    """Give one message with its notification and the notification's history."""
    found = await reading.find_message(service_of(request), request.path_params["id"], session.principal)
    if not found:
        raise NotFoundError
    notification = await service_of(request).archive.get(found.notification_id)
    history = await service_of(request).archive.history(found.notification_id)
    return _data(
        {
            "message": answers.mailbox_message(found),
            "notification": answers.notification(notification) if notification else None,
            "attempts": answers.history(notification.channel_type, history)["data"] if notification else [],
        }
    )


@while_in_use
async def html(request: Request, session: Session) -> Response:
    """Give a message's HTML as a document for the sandboxed frame."""
    found = await reading.find_message(service_of(request), request.path_params["id"], session.principal)
    if not found or found.html is None:
        raise NotFoundError
    document = DOCUMENT_START + CONNECTING_TAG.sub("<no-", found.html)
    return Response(document, headers=DOCUMENT_HEADERS, media_type="text/html")


@while_in_use
async def clear(request: Request, session: Session) -> Response:
    """Delete every message this person can see."""
    if not await is_own_form(request, session):
        return notice("Nothing was deleted", "This page was open for too long. Please try again.", status=403)
    await service_of(request).mailbox.clear(reading.everything_of(session.principal))
    return go_to("/mailbox")


def _data(content: object) -> Response:
    return answers.json_response(content, headers=PRIVATE)
