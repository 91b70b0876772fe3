"""The harness's side of the proxies."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.chaos.companions import Companion, a_companion
from tests.chaos.proxy import Mode
from tests.chaos.warden import Warden
from tests.services import free_port


@dataclass(frozen=True)
class Proxies:
    """A port in front of each server, by the server's name."""

    ports: Mapping[str, int]
    _companion: Companion

    async def turn(self, name: str, mode: Mode) -> None:
        """Return when the proxy treats its connections like this."""
        await self._companion.ask(f"{name} {mode}")


@asynccontextmanager
async def standing_before(targets: Mapping[str, int], warden: Warden) -> AsyncIterator[Proxies]:
    """Run a proxy in front of each of these ports."""
    ports = {name: free_port() for name in targets}
    pairs = [f"{name}:{ports[name]}:{target}" for name, target in targets.items()]
    async with a_companion(warden, "tests.chaos.proxy", *pairs) as companion:
        await companion.hear()
        yield Proxies(ports, companion)
