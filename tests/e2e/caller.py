"""Somebody who calls the service over HTTP, and knows nothing of it but its contract."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import jwt

FINAL = frozenset({"sent", "delivered", "failed", "cancelled", "suppressed", "expired"})
PROGRESS_SECONDS = 20.0
"""Longer than a lost claim and the longest wait between two attempts of these tests."""


def bearer(secret: str, subject: str, *, role: str = "user") -> dict[str, str]:
    """Return the headers of somebody who signed in."""
    now = datetime.now(UTC)
    claims = {"sub": subject, "role": role, "iat": now, "exp": now + timedelta(hours=1)}
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    document: Any


@dataclass
class Caller:
    """One caller with a token, over as many connections as needed."""

    session: aiohttp.ClientSession
    url: str

    async def post(self, path: str, document: Any, *, key: str | None = None) -> Answer:
        """POST a JSON document."""
        headers = {"Idempotency-Key": key} if key else {}
        async with self.session.post(f"{self.url}{path}", json=document, headers=headers) as answer:
            return await _read(answer)

    async def get(self, path: str, **query: str) -> Answer:
        """GET a resource."""
        async with self.session.get(f"{self.url}{path}", params=query) as answer:
            return await _read(answer)

    async def everything(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Read a list to its end, page after page."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = await self.get(path, limit="100", **query, **cursor)
            if answer.status != 200:
                raise RuntimeError(f"{path} answered {answer.status}: {answer.document}")
            rows += answer.document["data"]
            if not answer.document["has_more"]:
                return rows
            cursor = {"cursor": answer.document["next_cursor"]}

    async def histories(self, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Read the attempts of many notifications."""

        async def attempts(notification_id: str) -> tuple[str, list[dict[str, Any]]]:
            answer = await self.get(f"/v1/notifications/{notification_id}/attempts")
            return notification_id, answer.document["data"] if answer.status == 200 else []

        return dict(await many_at_once([partial(attempts, each) for each in ids]))

    async def waiting(self) -> int:
        """How much is not yet final; an administrator sees everybody's."""
        page = await self.get("/notifications", status="pending", per_page="1")
        return int(page.document["total"])


@asynccontextmanager
async def calling(
    url: str, headers: dict[str, str], *, connections: int = 64, seconds: float = 20
) -> AsyncIterator[Caller]:
    """Call as whom the headers speak for."""
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        yield Caller(session, url)


async def until_settled(caller: Caller, *, patience: float = PROGRESS_SECONDS) -> bool:
    """Wait until everything is final; False when nothing moves any more, however slow the machine is."""
    clock = asyncio.get_running_loop().time
    left, until = await caller.waiting(), clock() + patience
    while left and clock() < until:
        await asyncio.sleep(0.2)
        now_left = await caller.waiting()
        if now_left < left:
            left, until = now_left, clock() + patience
    return not left


async def many_at_once[Result](
    calls: Sequence[Callable[[], Coroutine[Any, Any, Result]]], *, at_once: int = 50
) -> list[Result]:
    """Make all calls, a bounded number of them at a time; results come in the given order."""
    results: list[Result | None] = [None] * len(calls)
    numbers = iter(range(len(calls)))

    async def work() -> None:
        for number in numbers:
            results[number] = await calls[number]()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
    return results  # type: ignore[return-value]  # every place was filled


async def _read(answer: aiohttp.ClientResponse) -> Answer:
    is_json = "json" in answer.content_type
    document = await answer.json(content_type=None) if is_json else await answer.text()
    return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, document)
