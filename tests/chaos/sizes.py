"""How much a run does."""

from typing import Any

from tests.chaos.plan import Plan
from tests.chaos.planted import PLANTS

PATIENT = {"NS_SEND_TIMEOUT_SECONDS": "10", "NS_LEASE_SECONDS": "20"}
"""Where nothing fails, a busy machine must not look like it."""

SIZES: dict[str, dict[str, Any]] = {
    "minute": {"accepts": 3_000, "seconds": 25, "kills": 2, "others": 2, "storms": 1, "calm_accepts": 200},
    "ordinary": {},
    "rolling": {
        "accepts": 10_000,
        "seconds": 90,
        "kills": 0,
        "others": 0,
        "polite_receivers": True,
        "settings": PATIENT,
    },
    "hang": {"accepts": 6_000, "kills": 0, "others": 0},
    "full": {"accepts": 100_000, "seconds": 450, "kills": 25, "others": 20, "storms": 6},
}


def of_size(size: str, broker: str, *, seed: int = 1, **changed: Any) -> Plan:
    """A run of this size."""
    return Plan(broker=broker, seed=seed, **SIZES[size] | changed)


def minute(broker: str, *, seed: int = 1) -> Plan:
    """The form in which it runs with the other tests."""
    return of_size("minute", broker, seed=seed)


def planted(name: str, *, seed: int = 1, healthy: bool = False) -> Plan:
    """A short run with a bug, on the broker on which it shows; `healthy`: the same without the bug."""
    plant = PLANTS[name]
    bug = None if healthy else name
    return of_size("minute", plant.broker, seed=seed, plant=bug, patience=15, **plant.plan)
