"""Renders templates into pages that nothing foreign can run in, frame or remember."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from notification_service.entrypoints.web.assets import asset_path

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PRIVATE = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of everything that only the signed-in person may see."""

HEADERS = PRIVATE | {
    "content-security-policy": POLICY,
    # A tab opened from a message must not get hold of this page.
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}

_templates = Environment(
    loader=PackageLoader("notification_service.entrypoints.web"),
    autoescape=True,
    auto_reload=False,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a template; every value in it is escaped."""
    return HTMLResponse(
        _templates.get_template(template).render(values, asset=asset_path),
        status_code=status,
        headers=HEADERS,
    )


def notice(title: str, *lines: str, status: int) -> Response:
    """Say one thing to a person, with a way back to the start."""
    return page("notice.html", status=status, title=title, lines=lines)


def error_page(request: Request, title: str, detail: str, *, status: int) -> Response | None:
    """Tell a person who waits for a page what went wrong; None for a program."""
    return notice(title, detail, status=status) if is_navigation(request) else None


def go_to(path: str) -> Response:
    """Lead the browser on with a GET."""
    return RedirectResponse(path, status_code=303, headers=PRIVATE)


def is_navigation(request: Request) -> bool:
    """Whether a person is waiting for a page, as opposed to a script for data."""
    asked_for_html = "text/html" in request.headers.get("accept", "")
    return asked_for_html and request.headers.get("sec-fetch-mode", "navigate") == "navigate"


def is_from_elsewhere(request: Request) -> bool:
    """Whether a browser says that another site caused this request."""
    return request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
