"""The harness's side of the proxies."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.chaos.companions import Companion, a_companion
from tests.chaos.proxy import Mode
from tests.chaos.servers import Server
from tests.chaos.warden import Warden


@dataclass(frozen=True)
class Proxies:
    """One in front of each server, by the server's name."""

    _companion: Companion

    async def turn(self, name: str, mode: Mode) -> None:
        """Return when the proxy treats its connections like this."""
        await self._companion.ask(f"{name} {mode}")


@asynccontextmanager
async def standing_before(servers: Mapping[str, Server], warden: Warden) -> AsyncIterator[Proxies]:
    """Run a proxy in front of each of these servers."""
    pairs = [f"{name}:{each.proxy_port}:{each.port}" for name, each in servers.items()]
    async with a_companion(warden, "tests.chaos.proxy", *pairs) as companion:
        await companion.hear()
        yield Proxies(companion)
