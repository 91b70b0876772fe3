"""`app` and two `worker` processes, used as an operator and a caller would use them."""

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.caller import Caller, calling, many_at_once, until_settled
from tests.e2e.processes import PROGRAMS, ServiceProcess, ordinary_settings
from tests.e2e.sink import Sink, webhook_sink, within
from tests.services import free_port

pytestmark = pytest.mark.timeout(180)

CONCURRENCY = 4
"""Few places, so that no worker takes everything at once."""
DATABASES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give an empty database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_database"))
    return f"sqlite:///{tmp_path / 'e2e.db'}"


@dataclass
class Site:
    """One API process, two workers, and somebody who calls."""

    caller: Caller
    sink: Sink
    workers: list[ServiceProcess]

    async def send(self, count: int) -> dict[str, str]:
        """Send so many, a quarter to each channel; return the channel of each by id."""
        calls = [partial(self._send_one, number) for number in range(count)]
        return dict(await many_at_once(calls, at_once=20))

    async def arrivals(self) -> Counter[str]:
        """Count what arrived, by id, wherever it did."""
        mailbox = await self.caller.everything("/v1/mailbox")
        return self.sink.arrivals + Counter(mail["notification_id"] for mail in mailbox)

    async def statuses(self) -> Counter[str]:
        """Count the states of everything."""
        return Counter(row["status"] for row in await self.caller.everything("/v1/notifications"))

    async def _send_one(self, number: int) -> tuple[str, str]:
        channel = self._channel(number)
        document = {"user_id": f"user-{number % 7}", "channel": channel, "body": f"number {number}"}
        answer = await self.caller.post("/v1/notifications", document)
        assert answer.status == 202, answer.document
        return answer.document["id"], channel["type"]

    def _channel(self, number: int) -> dict[str, Any]:
        channels: tuple[dict[str, Any], ...] = (
            {"type": "email", "to": f"user{number}@example.com", "subject": "Hello"},
            {"type": "sms", "phone_number": f"+4915{number:09}"},
            {"type": "push", "device_token": f"device-{number}", "title": "Hello"},
            {"type": "webhook", "url": self.sink.url},
        )
        return channels[number % len(channels)]


@pytest.fixture
async def site(database: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Start everything; end everything."""
    settings = ordinary_settings(tmp_path) | {
        "NS_DATABASE_URL": database,
        "NS_WORKER_CONCURRENCY": str(CONCURRENCY),
        "NS_ON_AMBIGUOUS_SMS": "retry",
    }
    processes: list[ServiceProcess] = []
    try:
        async with _opened(settings, tmp_path, processes) as site:
            yield site
    finally:
        for process in processes:
            process.end()


@asynccontextmanager
async def _opened(
    settings: dict[str, str], folder: Path, processes: list[ServiceProcess]
) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        app = await _start("app", settings, folder, processes)
        workers = [await _start("worker", settings, folder, processes) for _ in range(2)]
        headers = {"Authorization": f"Bearer {_token(settings, folder)}"}
        sink = await stack.enter_async_context(webhook_sink(delay=within(0.005, 0.05)))
        yield Site(await stack.enter_async_context(calling(app.url, headers)), sink, workers)


async def test_every_channel_is_delivered_once_and_both_workers_help(site: Site) -> None:
    """What was accepted is sent, arrives once at its receiver, and the workers' own counts agree."""
    sent = await site.send(400)

    assert await until_settled(site.caller)
    counts = [await _sent_by(worker) for worker in site.workers]
    assert await site.arrivals() == Counter(sent.keys())
    assert await site.statuses() == {"sent": 400}
    assert sum(counts, Counter()) == Counter(sent.values())
    assert all(count.total() for count in counts)


async def test_a_worker_that_is_told_to_stop_finishes_what_it_has(site: Site) -> None:
    """SIGTERM under load: it leaves with 0, the other one does the rest, nothing is lost or repeated."""
    leaving, staying = site.workers
    sending = asyncio.create_task(site.send(600))
    await _until_it_works(leaving)

    code = await leaving.stop()

    sent = await sending
    assert await until_settled(site.caller)
    assert code == 0
    assert await site.arrivals() == Counter(sent.keys())
    assert await site.statuses() == {"sent": 600}
    assert (await _sent_by(staying)).total() < 600
    histories = await site.caller.histories(sent)
    assert {len(history) for history in histories.values()} == {1}


async def _start(
    program: str, settings: dict[str, str], folder: Path, processes: list[ServiceProcess]
) -> ServiceProcess:
    port = free_port()
    command: list[str | Path] = [PROGRAMS / program, "--port", str(port)]
    log = f"{program}{len(processes)}.log"
    process = ServiceProcess.start(command, settings=settings, folder=folder, log=log, port=port)
    processes.append(process)
    return await process.serves()


def _token(settings: dict[str, str], folder: Path) -> str:
    command = [str(PROGRAMS / "app-token"), "--user", "operator", "--role", "admin"]
    asked = subprocess.run(command, env=settings, cwd=folder, check=True, stdout=subprocess.PIPE)
    return asked.stdout.decode().strip()


async def _sent_by(worker: ServiceProcess) -> Counter[str]:
    """Count what a worker delivered, by channel, as it says itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'^notifications_sent_total{channel="(\w+)"} ([0-9.]+)$', text, re.MULTILINE)
    return +Counter({channel: int(float(count)) for channel, count in found})


async def _until_it_works(worker: ServiceProcess) -> None:
    for _ in range(500):
        if (await _sent_by(worker)).total() >= 20:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the worker delivers nothing: {worker.last_words()}")
