"""The limiter that several processes share, seen from outside."""

from pathlib import Path

import httpx
import pytest

from notification_service.settings import Settings
from tests.api.rig import Api, an_api, email

NOBODY = "redis://:open-sesame-4711@127.0.0.1:{port}/0"


async def send(api: Api, user: str = "ann") -> httpx.Response:
    async with api.caller(user) as caller:
        return await caller.post("/v1/notifications", json=email(user))


async def ready(api: Api) -> httpx.Response:
    async with api.client() as client:
        return await client.get("/health/ready")


@pytest.fixture
def unreachable(free_port: int) -> str:
    """Give the address of a Redis that isn't there."""
    return NOBODY.format(port=free_port)


async def test_two_processes_share_the_limit(redis_database: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_database, rate_limit_per_hour=2)
    async with an_api(settings) as one, an_api(settings) as other:
        answers = [await send(one), await send(other), await send(one)]

        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert 3590 < int(answers[2].headers["retry-after"]) <= 3601
        assert (await ready(one)).json()["checks"]["rate_limiter"]["status"] == "up"


async def test_without_redis_it_starts_and_accepts_nothing(unreachable: str, tmp_path: Path) -> None:
    async with an_api(Settings(data_dir=tmp_path, redis_url=unreachable)) as api:
        refused, readiness = await send(api), await ready(api)

    assert refused.status_code == 503
    assert refused.json()["code"] == "rate_limiter_unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    assert (readiness.status_code, readiness.json()["status"]) == (503, "unready")
    assert readiness.json()["checks"]["rate_limiter"]["status"] == "down"
    assert "sesame" not in refused.text + readiness.text


async def test_open_by_setting_it_accepts_uncounted(unreachable: str, tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, redis_url=unreachable, rate_limit_fail_open=True, rate_limit_per_hour=1
    )
    async with an_api(settings) as api:
        answers, readiness = [await send(api) for _ in range(3)], await ready(api)

    assert [answer.status_code for answer in answers] == [202] * 3
    assert {answer.headers["ratelimit-remaining"] for answer in answers} == {"1"}
    assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")
    assert readiness.json()["checks"]["rate_limiter"]["status"] == "degraded"
