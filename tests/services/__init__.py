"""Finding or starting the real servers that tests use.

Each module beside this one is one service: a `SERVICE` and the fixtures that hand it to tests. It tries, in
order, what the environment names, a program on this machine, and Docker. To add a service, add a module.
"""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

KEEPER = Path(__file__).with_name("_keeper.py")


class OutOfReachError(Exception):
    """A service cannot be had in this way; the message says why, if that is worth saying."""


class Running(Protocol):
    """A service that answers."""

    @property
    def where(self) -> str:
        """Where it runs and which version it is, for people."""
        ...


@dataclass
class Service[T: Running]:
    """A kind of server that tests may need."""

    name: str
    """The mark of the tests that need it, and its name in REQUIRE."""
    fixture: str
    """The fixture that starts it; tests which use it are marked."""
    how_to_get: str
    ways: tuple[Callable[[], T], ...]
    """What to try, in this order; each raises OutOfReachError when it is not to be had in that way."""
    used_by: set[str] = field(default_factory=set)
    _found: T | OutOfReachError | None = None

    def find(self) -> T:
        """Give the running service, started if need be."""
        if self._found is None:
            reasons = []
            for way in self.ways:
                try:
                    self._found = way()
                    break
                except OutOfReachError as error:
                    reasons.append(str(error))
            else:
                self._found = OutOfReachError("; ".join(filter(None, reasons)))
        if isinstance(self._found, OutOfReachError):
            raise self._found
        return self._found

    def need(self) -> T:
        """Give the running service, or skip the test (fail it, if REQUIRE names the service)."""
        with contextlib.suppress(OutOfReachError):
            return self.find()
        message = f"{self.name} is out of reach ({self._found}). {self.how_to_get}"
        if self.name in required():
            pytest.fail(f"REQUIRE asks for {self.name}: {message}", pytrace=False)
        pytest.skip(message)

    @property
    def state(self) -> T | OutOfReachError | None:
        """What came of looking for it; None when nobody needed it."""
        return self._found


def required() -> set[str]:
    """Names of the services whose absence is a failure."""
    names = {name.strip() for name in os.environ.get("REQUIRE", "").split(",")} - {""}
    return {service.name for service in services()} if "all" in names else names


@functools.cache
def modules() -> list[str]:
    """Names of the modules beside this one: one for each service."""
    return [f"{__name__}.{path.stem}" for path in sorted(KEEPER.parent.glob("[a-z]*.py"))]


def services() -> list[Service[Any]]:
    """Every service there is a module for."""
    return [sys.modules[name].SERVICE for name in modules()]


def free_port() -> int:
    """Give a TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop of its own, even while another loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@dataclass
class Kept:
    """A server that ends with the test session, however that ends, and the folder that goes with it."""

    keeper: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(
        cls, command: list[str], *, folder: Path, stop_with: signal.Signals, user: str | None = None
    ) -> Self:
        """Start `command` as `user`, with its output in a file in `folder`."""
        keeper = subprocess.Popen(
            [sys.executable, str(KEEPER), str(int(stop_with)), user or "", str(folder), *command],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        kept = cls(keeper, folder)
        _kept.append(kept)
        return kept

    def wait_until(self, answers: Callable[[], bool], *, seconds: float = 30) -> None:
        """Wait until the server answers."""
        end = time.monotonic() + seconds
        while not answers():
            if self.keeper.poll() is not None or time.monotonic() > end:
                output = self.output()
                self.stop()
                raise OutOfReachError(f"it was started and did not answer: {output}")
            time.sleep(0.05)

    def output(self) -> str:
        """Give the last lines that the server wrote."""
        with contextlib.suppress(OSError):
            return " / ".join((self.folder / "output").read_text(errors="replace").splitlines()[-3:])
        return "(it wrote nothing)"

    def stop(self) -> None:
        """End the server and wait for its end."""
        if self.keeper.stdin and not self.keeper.stdin.closed:
            self.keeper.stdin.close()
        self.keeper.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


_kept: list[Kept] = []


def stop_all() -> None:
    """End every server that was started here."""
    while _kept:
        _kept.pop().stop()


def new_folder(service: str) -> Path:
    """Make a temporary folder for a server's data; it goes when the server ends."""
    return Path(tempfile.mkdtemp(prefix=f"ns-test-{service}-"))


def program(*names: str, folders: Iterator[Path] | tuple[Path, ...] = ()) -> Path:
    """Find a program on PATH or in `folders`."""
    for name in names:
        for found in (shutil.which(name), *(str(folder / name) for folder in folders)):
            if found and os.access(found, os.X_OK):
                return Path(found)
    raise OutOfReachError(f"no {names[0]} on this machine")


def docker(
    image: str, port: int, *, options: tuple[str, ...] = (), arguments: tuple[str, ...] = ()
) -> tuple[Kept, int]:
    """Start a container; give it and the local port that leads to its `port`."""
    try:
        subprocess.run(["docker", "info"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        raise OutOfReachError("no Docker that answers") from error
    pulled = subprocess.run(["docker", "pull", "--quiet", image], check=False, capture_output=True)
    if pulled.returncode:
        raise OutOfReachError(f"Docker has no {image}: {pulled.stderr.decode(errors='replace').strip()}")
    local = free_port()
    command = ["docker", "run", "--rm", "--publish", f"127.0.0.1:{local}:{port}", *options, image, *arguments]
    return Kept.start(command, folder=new_folder("docker"), stop_with=signal.SIGTERM), local
