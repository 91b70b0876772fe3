"""The service's commands as processes of their own: started, asked, frozen, killed and stopped."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
import psutil

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
START_SECONDS = 45


class DidNotStartError(Exception):
    """A process ended, or did not answer in time; the message holds the end of its log."""


@dataclass
class ServiceProcess:
    """One running command, with a log of its own."""

    running: subprocess.Popen[bytes]
    log: Path
    url: str

    @classmethod
    def start(
        cls, command: Sequence[str | Path], *, settings: Mapping[str, str], folder: Path, log: str, port: int
    ) -> Self:
        """Start `command`, which answers at `port`, in `folder`, with no other settings than these."""
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {"PYTHONPATH": str(ROOT), **settings}
        path = folder / log
        with path.open("ab") as output:
            running = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return cls(running, path, f"http://127.0.0.1:{port}")

    async def answers(self) -> Self:
        """Return once it lives; raise `DidNotStartError` when it ended or takes too long."""
        return await self._until(is_healthy)

    async def serves(self) -> Self:
        """Return once it can do its work; raise `DidNotStartError` when it ended or takes too long."""
        return await self._until(is_ready)

    async def _until(self, holds: Callable[[str], Awaitable[bool]]) -> Self:
        end = time.monotonic() + START_SECONDS
        while not await holds(self.url):
            if self.running.poll() is not None or time.monotonic() > end:
                raise DidNotStartError(self.last_words())
            await asyncio.sleep(0.05)
        return self

    def kill(self) -> None:
        """End it as a power failure would."""
        self.running.kill()
        self.running.wait(10)

    def freeze(self) -> None:
        """Let it stand still, as a paused machine would."""
        self.running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.running.send_signal(signal.SIGCONT)

    async def stop(self, *, seconds: float = 35) -> int:
        """Ask it to stop and return its exit code."""
        self.running.terminate()
        return await asyncio.to_thread(self.running.wait, seconds)

    def end(self) -> None:
        """Leave nothing behind, whatever its state."""
        if self.running.poll() is None:
            self.kill()

    def memory(self) -> int:
        """Bytes of memory it holds now."""
        return int(psutil.Process(self.running.pid).memory_info().rss)

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def ordinary_settings(folder: Path) -> dict[str, str]:
    """What every process of one test shares: data in `folder`, secrets of its own, no limit in the way."""
    return {
        "NS_DATA_DIR": str(folder / "data"),
        "NS_JWT_SECRET": secrets.token_hex(32),
        "NS_RATE_LIMIT_PER_HOUR": "1000000",
        "NS_LOG_FORMAT": "json",
        "NS_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }


async def is_healthy(url: str) -> bool:
    """Whether a process lives there."""
    return await _answer(f"{url}/health") == HTTPStatus.OK


async def is_ready(url: str) -> bool:
    """Whether what lives there can do its work; a worker does not say."""
    return await _answer(f"{url}/health/ready") in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}


async def _answer(url: str) -> int | None:
    timeout = aiohttp.ClientTimeout(total=4)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
