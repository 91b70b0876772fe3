"""Real processes for tests: started, watched line by line, and gone when the test is."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

SCRIPTS = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
PATIENCE = 40.0


class Running:
    """A process whose output is read as it comes."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def until(self, text: str) -> str:
        """Return the next line that holds `text`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._fresh.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} in:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"ended without a line with {text!r}:\n{self.output}")
            if text in line:
                return line

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit code once all output is read."""
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def children(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def end(self) -> None:
        """Leave nothing behind: everything here runs in a session of its own."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            self._fresh.put(line)
        self._fresh.put(None)


class Starter:
    """Starts processes in one folder and ends them all."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.folder = folder
        self._running: list[Running] = []

    def script(self, name: str, *arguments: str, **settings: str) -> Running:
        """Start an installed script."""
        return self._start([str(SCRIPTS / name), *arguments], settings)

    def tiny(self, port: int, *arguments: str) -> Running:
        """Start the tiny application."""
        command = [sys.executable, "-m", "tests.cli.tiny", str(port), *arguments]
        return self._start(command, {})

    def end(self) -> None:
        for running in self._running:
            running.end()

    def _start(self, command: list[str], settings: dict[str, str]) -> Running:
        running = Running(command, self.environment | settings, self.folder)
        self._running.append(running)
        return running


@contextmanager
def starting(folder: Path, **settings: str) -> Iterator[Starter]:
    """Give a starter whose processes see these settings and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    starter = Starter(environment(folder, **settings), folder)
    try:
        yield starter
    finally:
        starter.end()


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment with exactly these settings."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    ours = {
        "NS_DATA_DIR": str(folder / "data"),
        "NS_WORKER_PORT": "0",
        "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),  # the code beside these tests
    }
    return kept | ours | settings


def answers(url: str, timeout: float = PATIENCE) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} does not answer")


def is_gone(pid: int, timeout: float = 10) -> bool:
    """Whether the process ends within `timeout`."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
