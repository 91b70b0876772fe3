"""Many clients at once, each on a connection of its own, with requests that were written beforehand."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.e2e.caller import bearer
from tests.e2e.wire import Connection

PATIENCE = 30.0


@dataclass
class Accepts:
    """What became of the requests of one phase."""

    ids: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Accepted in a second."""
        return len(self.ids) / self.seconds

    def percentile(self, share: float) -> float:
        """The time, in milliseconds, within which this share of the answers came."""
        return sorted(self.times)[int(len(self.times) * share)] * 1000


@dataclass(frozen=True)
class Clients:
    """`count` clients, each acting for one of many users."""

    port: int
    heads: Sequence[bytes]
    count: int

    @classmethod
    def of(cls, port: int, secret: str, *, users: int, count: int) -> "Clients":
        """Sign the users in."""
        heads = [_head(secret, f"user-{number}") for number in range(users)]
        return cls(port, heads, count)

    async def send(self, numbers: range) -> Accepts:
        """Send all of these at the same time, as far as there are clients."""
        accepts, left = Accepts(), iter(numbers)
        connections = [await Connection.open(self.port) for _ in range(self.count)]
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for connection in connections:
                tasks.create_task(self._work(connection, left, accepts))
        accepts.seconds = time.monotonic() - began
        for connection in connections:
            connection.close()
        return accepts

    async def _work(self, connection: Connection, numbers: Iterator[int], accepts: Accepts) -> None:
        for number in numbers:
            request = self._request(number)
            began = time.monotonic()
            async with asyncio.timeout(PATIENCE):
                await connection.send(request)
                answer = await connection.answer()
            accepts.times.append(time.monotonic() - began)
            accepts.statuses[answer.status if answer else 0] += 1
            if answer and answer.status == 202:
                accepts.ids.append(json.loads(answer.body)["id"])

    def _request(self, number: int) -> bytes:
        user = number % len(self.heads)
        channel = {"type": "email", "to": f"user{user}@example.com", "subject": f"Number {number}"}
        document = {"user_id": f"user-{user}", "channel": channel, "body": f"notification {number}"}
        body = json.dumps(document).encode()
        return self.heads[user] + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _head(secret: str, user: str) -> bytes:
    lines = [
        "POST /v1/notifications HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Authorization: {bearer(secret, user)['Authorization']}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()
