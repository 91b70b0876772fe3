"""The fuzzer in small, and that it finds what it is for."""

import json

import pytest

from tests.e2e.wire import Answer
from tests.fuzz.cases import Case, raw
from tests.fuzz.checks import complaints
from tests.fuzz.run import run

MARKER = "Zq0123abcd"
PROBLEM = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "not found",
    "code": "not_found",
    "request_id": "r",
}
HEADERS = {"content-type": "application/problem+json", "x-request-id": "r"}
CASE = raw("a case", b"", statuses=(404,))


@pytest.mark.timeout(120)
async def test_bad_inputs_get_a_problem_and_nothing_of_them_comes_back() -> None:
    """Everything written by hand and some that is generated, against a served API."""
    report = await run(seed=2, count=1_000)

    assert report.is_good, "\n".join(report.complaints())
    assert report.inputs >= 1_000


@pytest.mark.timeout(120)
async def test_postgres_takes_no_harm_either(postgres_database: str) -> None:
    """It refuses texts that SQLite stores: they have to be refused before."""
    report = await run(seed=3, count=1_000, database=postgres_database)

    assert report.is_good, "\n".join(report.complaints())


def test_a_good_answer_is_not_complained_about() -> None:
    assert not list(complaints(CASE, _answer(), MARKER))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Answer(500, HEADERS, json.dumps(PROBLEM | {"status": 500}).encode()), "which no reference names"),
        (Answer(422, HEADERS, json.dumps(PROBLEM | {"status": 422}).encode()), "instead of [404]"),
        (Answer(404, {"content-type": "text/plain"}, b"not found"), "as text/plain"),
        (Answer(404, HEADERS, json.dumps(PROBLEM | {"detail": MARKER}).encode()), "in its body"),
        (Answer(404, HEADERS, json.dumps(PROBLEM | {"detail": "%5aq0123abcd"}).encode()), "in its body"),
        (Answer(404, HEADERS | {"x-a": MARKER.lower()}, json.dumps(PROBLEM).encode()), "in a header"),
        (Answer(404, HEADERS, b'{"status": 404, "request_id": "r"}'), "without code, detail"),
        (Answer(404, HEADERS | {"x-request-id": "other"}, json.dumps(PROBLEM).encode()), "another request"),
        (Answer(404, HEADERS, json.dumps(PROBLEM | {"status": 400}).encode()), "another status"),
        (Answer(404, HEADERS, json.dumps(PROBLEM | {"detail": "sqlite3 said"}).encode()), "its inside"),
    ],
)
def test_a_bad_answer_is_complained_about(answer: Answer, complaint: str) -> None:
    """Each promise about errors, broken once."""
    assert any(complaint in each for each in complaints(CASE, answer, MARKER))


def test_a_page_may_keep_what_was_typed_but_not_as_markup() -> None:
    case, headers = Case(name="page", sent=b"", is_page=True), {"content-type": "text/html"}

    safe = complaints(case, Answer(401, headers, f'<input value="{MARKER}&lt;script&gt;">'.encode()), MARKER)
    unsafe = complaints(case, Answer(401, headers, f"<p><script>alert('{MARKER}')".encode()), MARKER)

    assert not list(safe)
    assert list(unsafe) == ["puts the input into the page as markup"]


def test_a_rejected_item_of_a_bulk_request_is_looked_at_too() -> None:
    rejected = {"index": 0, "status": "rejected", "error": PROBLEM | {"detail": MARKER}}
    answer = Answer(202, {}, json.dumps({"results": [rejected]}).encode())

    found = list(complaints(Case(name="bulk", sent=b""), answer, MARKER))

    assert found == ["repeats the input in a rejection"]


def _answer() -> Answer:
    return Answer(404, HEADERS, json.dumps(PROBLEM).encode())
