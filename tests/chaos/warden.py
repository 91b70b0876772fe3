"""Ends whatever would outlive the harness, also when the harness itself is killed.

As a program it reads «watch PID» and «forget PID» from standard input; when that closes, it kills what it
watches, with everything below it, and removes the folder it was given.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Warden:
    """The harness's side of it."""

    running: subprocess.Popen[bytes]

    def watch(self, pid: int) -> None:
        """Have a process killed with everything below it when the harness ends."""
        self._say(f"watch {pid}")

    def forget(self, pid: int) -> None:
        """The process has ended: its number may soon be somebody else's."""
        self._say(f"forget {pid}")

    def _say(self, line: str) -> None:
        assert self.running.stdin
        self.running.stdin.write(f"{line}\n".encode())
        self.running.stdin.flush()


@contextmanager
def a_warden(folder: Path) -> Iterator[Warden]:
    """Run one for as long as the block lasts; the folder goes with it."""
    command = [sys.executable, __file__, str(folder)]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield Warden(running)
    finally:
        assert running.stdin
        running.stdin.close()
        running.wait(30)


def family(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it; empty when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def signal_family(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and everything below it."""
    for each in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def main() -> None:
    """Watch until standard input closes."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watched: set[int] = set()
    for line in sys.stdin:
        word, pid = line.split()
        (watched.add if word == "watch" else watched.discard)(int(pid))
    for each in watched:
        signal_family(each, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
