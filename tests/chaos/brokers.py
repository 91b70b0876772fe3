"""Each broker the service can be run with: how it is started, wiped and named in the settings."""

from collections.abc import Callable
from pathlib import Path

from tests.chaos.servers import Server
from tests.chaos.warden import Warden

BROKERS: dict[str, Callable[[Path, Warden], Server] | None] = {"embedded": None}
"""None stands for the database itself."""


def a_broker(name: str, folder: Path, warden: Warden) -> Server | None:
    """Return the server of this broker, not yet started; None when there is none."""
    make = BROKERS[name]
    return make(folder, warden) if make else None
