"""Every address of the site on one page."""

from starlette.routing import BaseRoute, Route

from notification_service.entrypoints.web import assets, mailbox, sign_in
from notification_service.entrypoints.web.sessions import Handler


def _route(path: str, handler: Handler, method: str = "GET") -> BaseRoute:
    return Route(path, handler, methods=[method], include_in_schema=False)


routes: list[BaseRoute] = [
    _route("/", sign_in.show),
    _route("/sign-in", sign_in.sign_in, "POST"),
    _route("/link/{secret}", sign_in.follow_link),
    _route("/link/{secret}", sign_in.confirm_link, "POST"),
    _route("/logout", sign_in.follow_logout),
    _route("/logout", sign_in.sign_out, "POST"),
    _route("/dashboard", sign_in.dashboard),
    _route("/mailbox", mailbox.show),
    _route("/mailbox/messages", mailbox.messages),
    _route("/mailbox/news", mailbox.news),
    _route("/mailbox/messages/{id}", mailbox.message),
    _route("/mailbox/messages/{id}/html", mailbox.html),
    _route("/mailbox/clear", mailbox.clear, "POST"),
    _route("/static/{version}/{name}", assets.asset),
]
"""Put these into the application that holds a `Service` in `app.state.service`."""
