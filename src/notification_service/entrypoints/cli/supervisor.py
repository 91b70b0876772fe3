"""Several processes behind one port: started, watched, replaced and stopped together."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import NoReturn

import structlog

from notification_service.entrypoints.stopping import STOP_SIGNALS, leave_at_once

LOOK = 0.2
PAUSE = 1.0
"""Seconds between two starts of a child that can't get up."""
GRACE = 2.0
"""Seconds that children have beyond their own patience before they are killed."""

type Serve = Callable[[socket.socket, Callable[[], None]], int]


@dataclass(slots=True)
class _Child:
    """One process, its socket, and the pipe on which it says that it serves."""

    listening: socket.socket
    says: Connection
    process: ForkProcess
    serves: bool = False

    def look(self) -> bool:
        """Return whether it lives, after noting whether it serves."""
        if not self.serves and self.says.poll():
            with suppress(EOFError):  # it has died without a word
                self.serves = bool(self.says.recv_bytes())
        return self.process.is_alive()


class Supervisor:
    """Keeps one child for each socket.

    `serve` runs in the child: it serves its socket, calls what it is given once it does, stops at SIGTERM and
    returns its exit code. A child that dies is replaced; its socket stays open here meanwhile, so what
    connects to it waits for the successor. When this process dies, however, its children stop too: each
    reads a pipe whose other end is open nowhere else.
    """

    def __init__(self, serve: Serve, sockets: Sequence[socket.socket], *, patience: timedelta) -> None:
        """Children get `patience` to finish when they are stopped."""
        self._serve = serve
        self._sockets = tuple(sockets)
        self._patience = patience
        self._fork = multiprocessing.get_context("fork")
        self._lifeline, self._life = os.pipe()
        self._children: list[_Child] = []
        self._stopping = False
        self._log = structlog.get_logger()

    def run(self) -> int:
        """Return an exit code after SIGTERM or SIGINT, or when a child could not even start."""
        with self._signals():
            self._children = [self._start(listening) for listening in self._sockets]
            failure = 0
            while not self._stopping and not failure:
                wait([child.process.sentinel for child in self._children], timeout=LOOK)
                failure = self._replace_the_dead()
            stopped = self._stop()
            return failure or stopped

    @contextmanager
    def _signals(self) -> Generator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._stopping:
            self._kill_all()
            leave_at_once(128 + number, "stopped before everything was finished")
        self._stopping = True

    def _start(self, listening: socket.socket) -> _Child:
        hears, says = self._fork.Pipe(duplex=False)
        process = self._fork.Process(target=self._live, args=(listening, says))
        process.start()
        says.close()
        return _Child(listening, hears, process)

    def _live(self, listening: socket.socket, says: Connection) -> NoReturn:
        """Be a child."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
        os.close(self._life)
        threading.Thread(target=self._await_orphanhood, daemon=True).start()
        for other in self._sockets:
            if other is not listening:
                other.close()
        os._exit(self._serve(listening, lambda: says.send_bytes(b"serving")))

    def _await_orphanhood(self) -> None:
        os.read(self._lifeline, 1)  # returns when the other end is closed, by intent or by death
        os.kill(os.getpid(), signal.SIGTERM)

    def _replace_the_dead(self) -> int:
        """Start a successor for each dead child; return the exit code of one that never served at all."""
        for place, child in enumerate(self._children):
            if child.look() or self._stopping:
                continue
            code = child.process.exitcode or 0
            if not child.serves and not any(other.serves for other in self._children):
                return code or 1
            self._log.error("api_process_died", died=child.process.pid, exit_code=code)
            if not child.serves:
                time.sleep(PAUSE)
            self._children[place] = self._start(child.listening)
        return 0

    def _stop(self) -> int:
        for listening in self._sockets:
            listening.close()  # or a client would wait in a queue that nobody serves
        os.close(self._life)
        deadline = time.monotonic() + self._patience.total_seconds() + GRACE
        for child in self._children:
            child.process.join(max(0, deadline - time.monotonic()))
        stragglers = [child for child in self._children if child.process.is_alive()]
        self._kill_all()
        failed = [child for child in self._children if child.process.exitcode not in (0, -signal.SIGTERM)]
        return int(bool(stragglers or failed))

    def _kill_all(self) -> None:
        for child in self._children:
            child.process.kill()
            child.process.join()
