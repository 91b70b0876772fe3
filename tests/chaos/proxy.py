"""TCP proxies that break connections on request; a process of its own, so that no load delays it.

Arguments: NAME:PORT:TARGET for each proxy. It says «ready», then reads «NAME MODE» a line and answers each
with «done»; it ends with its standard input.
"""

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

import uvloop

CHUNK = 65_536
SLOW_SECONDS = 0.05
SLOW_CHUNK = 4_096
GONE = (OSError, RuntimeError)
"""The other side has left: uvloop says so with a RuntimeError where asyncio drops what is written."""


class Mode(StrEnum):
    """How a proxy treats its connections."""

    OPEN = "open"
    CUT = "cut"
    """Every connection is reset, new ones are welcome."""
    UNREACHABLE = "unreachable"
    """Every connection is reset, new ones are refused."""
    STALLED = "stalled"
    """Connections stay, nothing passes."""
    HALF_OPEN = "half-open"
    """What the client says passes, what the server says does not."""
    SLOW = "slow"
    """Everything passes, late and in small pieces."""


@dataclass
class Proxy:
    """One port in front of another."""

    port: int
    target: int
    mode: Mode = Mode.OPEN
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Take connections."""
        if self.server is None:
            self.server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, reuse_address=True, backlog=1024
            )

    async def turn(self, mode: Mode) -> None:
        """Treat connections like this from now on."""
        self.mode = Mode.OPEN if mode is Mode.CUT else mode
        if mode is Mode.UNREACHABLE and self.server:
            self.server.close()
            self.server = None
        if mode in (Mode.CUT, Mode.UNREACHABLE):
            self._reset_all()
        self.changed.set()
        self.changed = asyncio.Event()
        if mode is not Mode.UNREACHABLE:
            await self.listen()

    def _reset_all(self) -> None:
        for writer in list(self.writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with suppress(*GONE):
            await self._passes(to_client=False)
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(back)
            both = (self._pump(reader, back, to_client=False), self._pump(there, writer, to_client=True))
            await asyncio.gather(*both)
            self.writers.discard(back)
        writer.close()
        self.writers.discard(writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_client: bool
    ) -> None:
        with suppress(*GONE):
            while data := await reader.read(SLOW_CHUNK if self.mode is Mode.SLOW else CHUNK):
                await self._passes(to_client=to_client)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _passes(self, *, to_client: bool) -> None:
        """Return when data may pass in this direction."""
        while self.mode is Mode.STALLED or (self.mode is Mode.HALF_OPEN and to_client):
            await self.changed.wait()
        if self.mode is Mode.SLOW:
            await asyncio.sleep(SLOW_SECONDS)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST: what is under way is gone."""
    with suppress(*GONE):
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


async def _obey(proxies: dict[str, Proxy]) -> None:
    for proxy in proxies.values():
        await proxy.listen()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, mode = line.split()
        await proxies[name].turn(Mode(mode))
        print("done", flush=True)


def main() -> None:
    """Stand in front of what the arguments name."""
    parts = (each.split(":") for each in sys.argv[1:])
    uvloop.run(_obey({name: Proxy(int(port), int(target)) for name, port, target in parts}))


if __name__ == "__main__":
    main()
