"""What every answer has to keep to, whatever was sent."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.e2e.wire import Answer
from tests.fuzz.cases import Case

MEMBERS = frozenset({"type", "title", "status", "detail", "code", "request_id"})
DOCUMENTED = frozenset(
    {200, 201, 202, 204, 302, 303, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429, 431}
)
NEEDED_HEADERS = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}


def complaints(case: Case, answer: Answer, marker: str) -> Iterator[str]:
    """Say everything that is wrong with an answer."""
    if not _is_overloaded(answer):
        if answer.status not in DOCUMENTED:
            yield f"answered {answer.status}, which no reference names"
        if case.statuses and answer.status not in case.statuses:
            yield f"answered {answer.status} instead of {sorted(case.statuses)}"
    if case.is_page and "html" in answer.headers.get("content-type", ""):
        yield from _markup(answer, marker)
    elif answer.status >= 400:
        yield from _echo(answer, marker)
        yield from _problem(answer) if case.has_body else ()
    elif answer.status == 202:
        yield from _echo_in_rejections(answer, marker)


def repeats(data: bytes, marker: str) -> bool:
    """Whether the marker stands there, as it is or written in some other way."""
    plain, wanted = data.replace(b"\\", b""), marker.lower().encode()
    return wanted in plain.lower() or wanted in unquote_to_bytes(plain).lower()


def _is_overloaded(answer: Answer) -> bool:
    """Whether it was told to come back: nothing was looked at."""
    return answer.status == 503 and json.loads(answer.body).get("code") == "overloaded"


def _markup(answer: Answer, marker: str) -> Iterator[str]:
    """Let a form keep what was typed into it, as text."""
    if re.search(rf"<(script|img)[^>]*[>=(' ]+[^<>]*{marker}".encode(), answer.body, re.IGNORECASE):
        yield "puts the input into the page as markup"


def _echo(answer: Answer, marker: str) -> Iterator[str]:
    if repeats(answer.body, marker):
        yield "repeats the input in its body"
    if any(repeats(f"{name}: {value}".encode(), marker) for name, value in answer.headers.items()):
        yield "repeats the input in a header"


def _echo_in_rejections(answer: Answer, marker: str) -> Iterator[str]:
    document = json.loads(answer.body)
    rejected = [each for each in document.get("results", ()) if each["status"] == "rejected"]
    if repeats(json.dumps(rejected).encode(), marker):
        yield "repeats the input in a rejection"
    for each in rejected:
        yield from _members(each["error"])


def _problem(answer: Answer) -> Iterator[str]:
    if answer.headers.get("content-type") != "application/problem+json":
        yield f"answered {answer.status} as {answer.headers.get('content-type')}"
        return
    document = json.loads(answer.body)
    yield from _members(document)
    if document.get("status") != answer.status:
        yield "names another status than its own"
    if document.get("request_id") != answer.headers.get("x-request-id"):
        yield "names another request than its header"
    needed = NEEDED_HEADERS.get(answer.status)
    if needed and needed not in answer.headers:
        yield f"answered {answer.status} without {needed}"


def _members(document: dict[str, Any]) -> Iterator[str]:
    missing = MEMBERS - document.keys()
    if missing:
        yield f"a {document.get('status')} without {', '.join(sorted(missing))}"
    if document.get("status") == 422 and not _are_field_problems(document.get("errors")):
        yield "a 422 without fields"
    if re.search(r"Traceback|File \"|sqlalchemy|asyncpg|sqlite3|pydantic", json.dumps(document)):
        yield "tells about its inside"


def _are_field_problems(errors: Any) -> bool:
    return bool(errors) and all(each.keys() == {"field", "message"} for each in errors)
