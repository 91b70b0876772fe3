"""Argon2id in threads, never more at once than the machine can bear."""

import asyncio
import os
from collections.abc import Callable

from argon2 import PasswordHasher as Argon2Hasher
from argon2.exceptions import InvalidHashError, VerificationError

from notification_service.domain.errors import OverloadedError

WAITING_CHECKS = 100
"""Each takes some 50 ms of a core: whoever comes after these is better told to come back."""


class Argon2Passwords:
    """Hashes with argon2-cffi's recommended cost (RFC 9106, low memory)."""

    def __init__(self, *, concurrency: int | None = None, hasher: Argon2Hasher | None = None) -> None:
        """Run at most `concurrency` hashes at once; half the cores unless said otherwise."""
        self._hasher = hasher or Argon2Hasher()
        self._running = asyncio.Semaphore(concurrency or max(1, (os.cpu_count() or 2) // 2))
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return a salted hash; raises `OverloadedError` when too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether this password was hashed; raises `OverloadedError` when too many wait."""
        return await self._run(lambda: self._matches(password_hash, password))

    async def _run[Result](self, work: Callable[[], Result]) -> Result:
        if self._waiting >= WAITING_CHECKS:
            raise OverloadedError
        self._waiting += 1
        try:
            async with self._running:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
