"""/health and /health/ready."""

import httpx
import pytest

from notification_service.application.health import Health
from notification_service.domain.errors import StoreUnavailableError
from tests.api.rig import Api


async def _up() -> str:
    return "SQLite 3"


async def _gone() -> str:
    raise StoreUnavailableError


async def test_alive_asks_nobody(stranger: httpx.AsyncClient) -> None:
    response = await stranger.get("/health")

    assert response.content == b'{"status":"ok"}'


async def test_ready_tells_each_dependency(stranger: httpx.AsyncClient) -> None:
    answer = (await stranger.get("/health/ready")).json()

    assert answer["status"] == "ready"
    assert answer["checks"]["database"]["status"] == "up"
    assert all(set(check) == {"status", "detail"} for check in answer["checks"].values())


@pytest.mark.parametrize(
    ("health", "code", "status", "check"),
    [
        (Health(needed={"x": _gone}, helpful={"y": _up}), 503, "unready", "down"),
        (Health(needed={"y": _up}, helpful={"x": _gone}), 200, "degraded", "degraded"),
    ],
)
async def test_what_is_missing_decides(
    api: Api,
    stranger: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    health: Health,
    code: int,
    status: str,
    check: str,
) -> None:
    monkeypatch.setattr(api.service.health, "readiness", health.readiness)

    response = await stranger.get("/health/ready")

    assert (response.status_code, response.json()["status"]) == (code, status)
    assert response.json()["checks"]["x"]["status"] == check
    assert ("retry-after" in response.headers) is (code == 503)
