"""What one run does: how much is sent, when the service dies, and what each request says."""

import random
from dataclasses import dataclass, field
from typing import Any

CHANNELS = ("webhook", "email")
LEASE_SECONDS = 4.0
SEND_TIMEOUT_SECONDS = 1.5
SWEEP_SECONDS = 1.0
FROZEN_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + 1.5
"""Long enough for another worker to find the lease run out and to deliver again."""
SHARE_WITH_KILLS = 0.85
"""The rest is sent while a second worker stands by, which is then frozen."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run, the same for the same seed as far as processes allow."""

    seed: int = 1
    accepts: int = 5_000
    kills: int = 10
    clients: int = 64
    concurrency: int = 16
    seconds: float = 300
    """Patience with the sending, however slow the machine."""
    database: str | None = None
    plant: str | None = None
    _moments: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Throw the dice once."""
        moments = random.Random(self.seed).sample(self.with_kills[1:], self.kills)
        object.__setattr__(self, "_moments", tuple(sorted(moments)))

    @property
    def with_kills(self) -> range:
        """The requests during which the service is killed."""
        return range(int(self.accepts * SHARE_WITH_KILLS))

    @property
    def with_freezes(self) -> range:
        """The requests during which the second worker is frozen."""
        return range(self.with_kills.stop, self.accepts)

    @property
    def kill_after(self) -> tuple[int, ...]:
        """After how many accepted requests the service is killed."""
        return self._moments

    @property
    def freeze_after(self) -> int:
        """After how many accepted requests the second worker is frozen."""
        return self.with_freezes[len(self.with_freezes) // 2]

    @property
    def bound(self) -> int:
        """How many repeats the kills and freezes explain at the very most."""
        return (self.kills + 2) * self.concurrency * len(CHANNELS)

    def pause(self) -> float:
        """Seconds between reaching a moment and the kill, so that it hits no particular instruction."""
        return random.uniform(0, 0.05)  # the one thing no seed can repeat

    def key(self, number: int) -> str:
        """The Idempotency-Key of a request."""
        return f"crash-{self.seed}-{number}"

    def body(self, number: int) -> str:
        """The text of a request, unlike any other's."""
        return f"notification {number} of run {self.seed}"

    def request(self, number: int, sink_url: str) -> dict[str, Any]:
        """The JSON document of a request: webhooks and emails take turns."""
        channel = {"type": "email", "to": f"user{number}@example.com", "subject": f"Number {number}"}
        if CHANNELS[number % 2] == "webhook":
            channel = {"type": "webhook", "url": sink_url}
        return {"user_id": f"user-{number % 50}", "channel": channel, "body": self.body(number)}
