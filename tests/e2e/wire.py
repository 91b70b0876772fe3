"""The least of an HTTP client: it sends any bytes and reads what a server says, down to the connection."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

LARGEST_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=LARGEST_ANSWER))

    async def send(self, data: bytes) -> None:
        """Send as it is; a server may hang up before it has read everything, which is its right."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer | None:
        """Read one answer; None when the server hung up instead."""
        try:
            status, headers = await self._head()
            while status < 200:
                status, headers = await self._head()
            return Answer(status, headers, await self._body(status, headers) if has_body else b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:-2])
        return int(lines[0].split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status == 204:
            return b""
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunks()
        return await self._reader.read()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body
