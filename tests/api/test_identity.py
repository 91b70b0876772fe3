"""X-Request-ID, X-Correlation-ID and traceparent: in, out, logged and stored."""

from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from notification_service.domain.errors import StoreUnavailableError
from notification_service.domain.notification import NotificationId, Trail
from tests.api.rig import Api, email

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    yield capture
    structlog.reset_defaults()


@pytest.mark.parametrize("path", ["/health", "/v1/notifications", "/nothing", "/docs"])
async def test_the_callers_ids_come_back_on_every_answer(stranger: httpx.AsyncClient, path: str) -> None:
    ids = {"X-Request-ID": "r-1", "X-Correlation-ID": "c-1"}

    headers = (await stranger.get(path, headers=ids)).headers

    assert (headers["x-request-id"], headers["x-correlation-id"]) == ("r-1", "c-1")


async def test_without_ids_one_is_made_and_both_are_the_same(stranger: httpx.AsyncClient) -> None:
    one, other = [(await stranger.get("/health")).headers for _ in range(2)]

    assert one["x-request-id"] == one["x-correlation-id"]
    assert one["x-request-id"] != other["x-request-id"]


@pytest.mark.parametrize("bad", ["", " ", "a b", "ä", "x" * 129, "a\tb", "a\x01"])
async def test_an_unusable_id_is_replaced(stranger: httpx.AsyncClient, bad: str) -> None:
    headers = {"X-Request-ID": bad.encode(), "X-Correlation-ID": bad.encode()}

    answered = (await stranger.get("/health", headers=headers)).headers

    assert len(answered["x-request-id"]) == 32
    assert answered["x-correlation-id"] == answered["x-request-id"]


async def test_a_repeated_id_is_unusable(stranger: httpx.AsyncClient) -> None:
    twice = [("X-Request-ID", "a"), ("X-Request-ID", "b")]

    assert len((await stranger.get("/health", headers=twice)).headers["x-request-id"]) == 32


async def test_a_bad_correlation_is_replaced_by_the_request(stranger: httpx.AsyncClient) -> None:
    headers = {"X-Request-ID": "r" * 128, "X-Correlation-ID": "x" * 129}

    assert (await stranger.get("/health", headers=headers)).headers["x-correlation-id"] == "r" * 128


async def test_a_problem_names_its_request(stranger: httpx.AsyncClient) -> None:
    response = await stranger.get("/v1/notifications", headers={"X-Request-ID": "r-2"})

    assert response.json()["request_id"] == "r-2"


async def test_the_trail_is_stored_with_the_notification(
    api: Api, caller: httpx.AsyncClient, user: str
) -> None:
    trail = {"X-Request-ID": "r-3", "X-Correlation-ID": "c-3", "traceparent": TRACE}

    sent = await caller.post("/v1/notifications", json=email(user), headers=trail)

    stored = await api.service.archive.get(NotificationId(UUID(sent.json()["id"])))
    assert stored
    assert stored.trail == Trail(request_id="r-3", correlation_id="c-3", traceparent=TRACE)


@pytest.mark.parametrize("bad", ["nonsense", TRACE + "-more", TRACE.replace("0af", "xyz"), ""])
async def test_a_malformed_traceparent_is_left_out(
    api: Api, caller: httpx.AsyncClient, user: str, bad: str
) -> None:
    sent = await caller.post("/v1/notifications", json=email(user), headers={"traceparent": bad})

    stored = await api.service.archive.get(NotificationId(UUID(sent.json()["id"])))
    assert stored
    assert stored.trail.traceparent is None


async def test_log_lines_carry_the_ids(
    api: Api, caller: httpx.AsyncClient, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.service.archive, "find", broken)

    response = await caller.get("/v1/notifications", headers={"X-Request-ID": "r-4"})

    [line] = log.entries
    assert (line["event"], line["request_id"]) == ("request_failed", "r-4")
    assert response.status_code == 500


async def test_an_unexpected_error_says_nothing_about_itself(
    api: Api, caller: httpx.AsyncClient, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.service.archive, "find", broken)

    response = await caller.get("/v1/notifications")

    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text


async def test_what_is_out_of_reach_is_503_with_a_time_to_wait(
    api: Api, caller: httpx.AsyncClient, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def out_of_reach(*_: object, **__: object) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(api.service.archive, "find", out_of_reach)

    response = await caller.get("/v1/notifications")

    assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert log.entries == []


async def test_what_takes_too_long_is_503(
    api: Api, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(api.service.archive, "find", slow)

    response = await caller.get("/v1/notifications")

    assert response.status_code == 503
    assert "retry-after" in response.headers
