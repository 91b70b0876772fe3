"""What only a socket shows: half-sent bodies, lengths that lie, connections kept and broken, the end."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
import structlog
from structlog.testing import LogCapture

from notification_service.domain.notification import NotificationId
from notification_service.domain.people import Role
from notification_service.entrypoints.api import bodies
from notification_service.entrypoints.api.app import create_app
from notification_service.entrypoints.server import ServerOptions, listen, serve, url_of
from notification_service.settings import Settings
from tests.api.rig import Api, email

LIMIT = 262_144


@dataclass(frozen=True)
class Served:
    """An API behind a real socket."""

    api: Api
    port: int
    stop: asyncio.Event
    serving: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api.token('root', Role.ADMIN)}"}


@dataclass(frozen=True)
class Connection:
    """One connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str

    async def send_head(self, *headers: str, request: str = "POST /v1/notifications") -> None:
        lines = [f"{request} HTTP/1.1", "Host: api", f"Authorization: {self.token}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
            }
            length = int(headers.get("content-length", 0)) if has_body else 0
            return int(head[0].split()[1]), headers, await self.reader.readexactly(length)

    async def is_closed(self) -> bool:
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


@pytest_asyncio.fixture(loop_scope="session")
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    app = create_app(Settings(data_dir=tmp_path, rate_limit_per_hour=1_000))
    [listening] = listen("127.0.0.1", 0)
    port = int(url_of(listening).rpartition(":")[2])
    stop, ready = asyncio.Event(), asyncio.Event()

    async def on_listening() -> None:
        ready.set()

    options = ServerOptions(shutdown=timedelta(seconds=10))
    serving = asyncio.create_task(
        serve(app, [listening], options=options, stop=stop, on_listening=on_listening)
    )
    await ready.wait()
    await app.state.service.prepared.wait()
    yield Served(Api(app), port, stop, serving)
    stop.set()
    await serving


@pytest_asyncio.fixture(loop_scope="session")
async def connection(served: Served) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    yield Connection(reader, writer, served.headers()["Authorization"])
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


async def test_a_body_that_stops_half_way_is_408_and_the_connection_ends(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_PATIENCE", timedelta(milliseconds=100))
    await connection.send_head("Content-Type: application/json", "Content-Length: 1000")
    await connection.send(b'{"user_id": ')

    status, headers, body = await connection.answer()

    assert (status, json.loads(body)["code"]) == (408, "request_timeout")
    assert headers["connection"] == "close"
    assert await connection.is_closed()


async def test_a_body_in_chunks_without_a_length_is_read(connection: Connection) -> None:
    body = json.dumps(email("ann")).encode()
    await connection.send_head("Content-Type: application/json", "Transfer-Encoding: chunked")
    for start in range(0, len(body), 40):
        part = body[start : start + 40]
        await connection.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    await connection.send(b"0\r\n\r\n")

    assert (await connection.answer())[0] == 202


async def test_chunks_are_counted(connection: Connection) -> None:
    await connection.send_head("Content-Type: application/json", "Transfer-Encoding: chunked")
    for _ in range(5):
        await connection.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")

    assert (await connection.answer())[0] == 413


async def test_a_length_that_is_too_large_is_refused_before_the_body_comes(connection: Connection) -> None:
    await connection.send_head("Content-Type: application/json", f"Content-Length: {LIMIT + 1}")

    assert (await connection.answer())[0] == 413


async def test_who_sends_a_large_body_to_its_end_still_hears_413(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, headers=served.headers()) as client:
        large = await client.post(
            "/v1/notifications", content=b" " * 4 * LIMIT, headers={"Content-Type": "application/json"}
        )
        after = await client.get("/health")

    assert (large.status_code, after.status_code) == (413, 200)


async def test_one_connection_serves_many_requests(connection: Connection) -> None:

    for _ in range(3):
        await connection.send_head(request="GET /health")
        assert (await connection.answer())[2] == b'{"status":"ok"}'


async def test_a_refused_body_does_not_become_the_next_request(connection: Connection) -> None:
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: api\r\n\r\n"
    await connection.send_head("Content-Type: text/plain", f"Content-Length: {len(smuggled)}")
    await connection.send(smuggled)
    assert (await connection.answer())[0] == 415

    await connection.send_head(request="GET /health")

    assert (await connection.answer())[2] == b'{"status":"ok"}'


@pytest.mark.parametrize("path", ["/health", "/v1/notifications", "/docs"])
async def test_head_has_the_length_and_no_body(connection: Connection, path: str) -> None:
    await connection.send_head(request=f"HEAD {path}")
    status, headers, _ = await connection.answer(has_body=False)

    await connection.send_head(request="GET /health")

    assert (status, int(headers["content-length"]) > 0) == (200, True)
    assert (await connection.answer())[2] == b'{"status":"ok"}'


async def test_a_client_that_goes_away_is_no_error(
    served: Served, connection: Connection, log: LogCapture
) -> None:
    await connection.send_head("Content-Type: application/json", "Content-Length: 1000")
    await connection.send(b"{")
    await asyncio.sleep(0.05)
    connection.writer.close()
    await asyncio.sleep(0.1)

    async with httpx.AsyncClient(base_url=served.url) as client:
        metrics = (await client.get("/metrics")).text

    assert log.entries == []
    assert 'route="/v1/notifications",status="499"' in metrics


async def test_the_site_and_the_api_share_the_address(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, headers={"Accept": "text/html"}) as client:
        page = await client.get("/")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


async def test_what_was_accepted_while_the_service_ended_is_stored(served: Served, tmp_path: Path) -> None:
    """Whoever heard 202 finds the notification after the next start; the others heard that it failed."""
    accepted: list[str] = []

    async def send_on(client: httpx.AsyncClient, number: int) -> None:
        while True:
            try:
                response = await client.post("/v1/notifications", json=email(f"u{number}"))
            except httpx.TransportError:
                return
            if response.status_code != 202:
                return
            accepted.append(response.json()["id"])

    async with httpx.AsyncClient(base_url=served.url, headers=served.headers()) as client:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(send_on(client, number))
            await asyncio.sleep(0.5)
            served.stop.set()
        await served.serving

    again = create_app(Settings(data_dir=tmp_path))
    async with again.router.lifespan_context(again):
        await Api(again).service.prepared.wait()
        archive = Api(again).service.archive
        found = [await archive.get(NotificationId(UUID(each))) for each in accepted]
    assert len(accepted) > 20
    assert all(found)
