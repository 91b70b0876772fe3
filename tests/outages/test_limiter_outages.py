"""Redis missing, lost and hanging: closed by default, open by setting, and back by itself."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.processes import is_healthy
from tests.outages.postgres import OwnPostgres
from tests.outages.site import READY_SECONDS, a_site, repeating
from tests.outages.stand import a_stand, events, readiness, until, until_missing, until_ready
from tests.outages.traffic import Traffic
from tests.services.redis import OwnRedis

pytestmark = [pytest.mark.timeout(200), pytest.mark.postgres, pytest.mark.redis]

REFUSAL_SECONDS = 2.0
"""Half a second for the call that tries, and what a busy machine adds."""
FROZEN_SECONDS = 4.0


async def test_a_limiter_that_is_missing_lost_or_hanging_closes_or_opens_and_comes_back(
    own_postgres: OwnPostgres, own_redis: OwnRedis, tmp_path: Path
) -> None:
    own_redis.kill()
    settings = {"NS_DATABASE_URL": own_postgres.database(), "NS_REDIS_URL": own_redis.url}
    async with a_stand(tmp_path, **settings) as stand, a_site(stand) as site:
        opened = await stand.start("app", NS_RATE_LIMIT_FAIL_OPEN="true")
        async with stand.calling(opened) as caller:
            in_the_open = Traffic([caller], site.sink.url)

            missing, refusal = await readiness(site.app), await site.traffic.ask()
            let_in, degraded = await in_the_open.ask(), await readiness(opened)
            alive = await is_healthy(site.app.url)
            said = "limiter_out_of_reach" in events(site.app)
            own_redis.start()
            await asyncio.gather(until_ready(site.app), until_ready(opened))

            async with site.traffic.flowing():
                await site.begun()
                own_redis.kill()
                await until(lambda: len(site.traffic.refusals()) > 20, "nothing refused")
                lost = await until_missing(site.app, "rate_limiter")
                own_redis.start()
                await until_ready(site.app)
                async with repeating(lambda: readiness(site.app), every=0.2) as looks:
                    own_redis.freeze()
                    await asyncio.sleep(FROZEN_SECONDS)
                    hanging = await readiness(site.app)
                    own_redis.thaw()
                    await until_ready(site.app)

        site.traffic.accepted["let in"] = let_in.answer.document["id"]
        await site.delivered()

        for seen in (missing, lost, hanging):
            assert (seen.code, list(seen.missing())) == (503, ["rate_limiter"])
        assert (degraded.code, degraded.status, list(degraded.missing())) == (
            200,
            "degraded",
            ["rate_limiter"],
        )
        assert refusal.answer.document["code"] == "rate_limiter_unavailable"
        assert let_in.answer.status == 202
        assert alive
        assert said
        assert max(looks) < READY_SECONDS
        assert max(each.seconds for each in site.traffic.refusals()) < REFUSAL_SECONDS
