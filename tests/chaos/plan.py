"""What one run does: how much is sent, what each request says, and which fault strikes when."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, override

from tests.chaos.behaviour import Behaviour

LEASE_SECONDS = 4.0
SEND_TIMEOUT_SECONDS = 2.0
SWEEP_SECONDS = 1.0
QUEUED_TIMEOUT_SECONDS = 8.0
MAX_RETRIES = 12
RETRY_SCHEDULE = "0.5,1"
STALL_SECONDS = SEND_TIMEOUT_SECONDS * 1.5
"""How long a receiver keeps a worker waiting that has given up by then."""

BODY = "notification {number} of run {seed}"
CHANNELS = ("webhook", "email")
USERS = 50
SCHEDULED_SHARE = 0.05
BULK_SHARE = 0.04
"""Of the requests; about half of all notifications come in bulk."""
LARGEST_BULK = 40

DEEDS: dict[str, tuple[str, ...]] = {
    "app": ("freeze", "stop"),
    "worker": ("freeze", "stop"),
    "postgres": ("cut", "stall", "restart", "half-open", "unreachable", "slow"),
    "redis": ("unreachable", "stall", "cut"),
    "broker": ("wipe", "unreachable", "stall", "cut"),
}
"""What happens to each kind of machine, besides being killed."""


@dataclass(frozen=True, order=True)
class Fault:
    """One blow: to one process of a kind, or to all of them at once."""

    at: float
    target: str
    deed: str
    member: int | None
    seconds: float
    """How long it stands still, is out of reach, or lies dead."""

    @override
    def __str__(self) -> str:
        which = "all" if self.member is None else self.member
        return f"{self.target} {which} {self.deed} for {self.seconds:.1f} s, planned at {self.at:.1f} s"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run, the same for the same seed as far as processes allow."""

    seed: int = 1
    broker: str = "embedded"
    accepts: int = 20_000
    seconds: float = 150
    """For how long faults strike."""
    kills: int = 6
    """Of each kind of process."""
    others: int = 7
    """Other faults of each kind."""
    storms: int = 2
    """How often every kind is struck at the same moment."""
    calm_accepts: int = 500
    """Sent afterwards, to see that everything has recovered without a restart."""
    apps: int = 2
    workers: int = 2
    clients: int = 32
    concurrency: int = 32
    deeds: Mapping[str, tuple[str, ...]] = field(default_factory=DEEDS.copy)
    """By kind of machine, what happens to it besides being killed; what is not there, nothing happens to."""
    polite_receivers: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of the service that this run needs otherwise."""
    plant: str | None = None
    patience: float = 40
    """Seconds without any progress after which it is over: longer than any wait of the service."""
    faults: tuple[Fault, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Throw the dice once."""
        object.__setattr__(self, "faults", tuple(sorted(self._throw())))

    @property
    def stormy(self) -> range:
        """The notifications that are sent while faults strike."""
        return range(self.accepts - self.calm_accepts)

    @property
    def calm(self) -> range:
        """The notifications that are sent when all is over."""
        return range(self.accepts - self.calm_accepts, self.accepts)

    @property
    def behaviour(self) -> Behaviour:
        """What the receivers do."""
        return Behaviour(self.seed, polite=self.polite_receivers)

    def _throw(self) -> Iterator[Fault]:
        dice = random.Random(f"faults {self.seed}")
        storms = [self.seconds * (each + 0.5) / max(self.storms, 1) for each in range(self.storms)]
        for target in self.deeds:
            if target == "broker" and self.broker == "embedded":
                continue
            deeds = self._deeds(target, dice)
            step = self.seconds / max(len(deeds), 1)
            moments = [step * (place + dice.random()) for place in range(len(deeds))]
            struck = {
                min(range(len(deeds)), key=lambda place: abs(moments[place] - storm)): storm
                for storm in storms
                if deeds
            }
            for place, deed in enumerate(deeds):
                member = None if place in struck else dice.randrange(8)
                seconds = self._seconds(target, deed, dice)
                yield Fault(struck.get(place, moments[place]), target, deed, member, seconds)

    def _deeds(self, target: str, dice: random.Random) -> list[str]:
        others = list(self.deeds[target])
        dice.shuffle(others)
        deeds = ["kill"] * self.kills + [others[each % len(others)] for each in range(self.others)]
        dice.shuffle(deeds)
        return deeds

    @staticmethod
    def _seconds(target: str, deed: str, dice: random.Random) -> float:
        if deed == "freeze":  # until about when another worker has taken over, or well after
            return LEASE_SECONDS + dice.uniform(0, 2 * SWEEP_SECONDS)
        if deed in ("kill", "stop", "restart", "wipe", "cut"):
            return dice.uniform(0, 1)
        return dice.uniform(1, 5)


@dataclass(frozen=True)
class Order:
    """One request: a single notification, or several in bulk; the same document however often it is sent."""

    numbers: range
    key: str
    path: str
    document: dict[str, Any]

    @property
    def is_bulk(self) -> bool:
        return self.path.endswith("bulk")


def orders(plan: Plan, numbers: range, webhook_url: str) -> Iterator[Order]:
    """Return the requests for these notifications; times in them are those of the moment they are made."""
    dice, at = random.Random(f"orders {plan.seed} {numbers.start}"), numbers.start
    while at < numbers.stop:
        bulk = dice.random() < BULK_SHARE
        until = min(at + (dice.randint(2, LARGEST_BULK) if bulk else 1), numbers.stop)
        yield _order(plan, range(at, until), webhook_url, bulk=bulk)
        at = until


def _order(plan: Plan, numbers: range, webhook_url: str, *, bulk: bool) -> Order:
    documents = [_document(plan.seed, number, webhook_url) for number in numbers]
    key = f"chaos-{plan.seed}-{numbers.start}"
    if bulk:
        return Order(numbers, key, "/v1/notifications/bulk", {"notifications": documents})
    return Order(numbers, key, "/v1/notifications", documents[0])


def _document(seed: int, number: int, webhook_url: str) -> dict[str, Any]:
    dice = random.Random(f"document {seed} {number}")
    channel = {"type": "email", "to": f"user{number}@example.com", "subject": f"Number {number}"}
    if dice.choice(CHANNELS) == "webhook":
        channel = {"type": "webhook", "url": webhook_url}
    document = {
        "user_id": f"user-{dice.randrange(USERS)}",
        "channel": channel,
        "body": BODY.format(number=number, seed=seed),
        "priority": dice.randint(1, 10),
    }
    if dice.random() < SCHEDULED_SHARE:
        due = datetime.now(UTC) + timedelta(seconds=dice.uniform(1, 5))
        document["scheduled_for"] = due.isoformat()
    return document
