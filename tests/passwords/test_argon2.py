"""Argon2Passwords: slow, salted, bounded."""

import asyncio
import threading
import time

import pytest
from argon2 import PasswordHasher as Argon2Hasher

from notification_service.adapters.passwords import argon2 as module
from notification_service.adapters.passwords.argon2 import Argon2Passwords
from notification_service.domain.errors import OverloadedError

QUICK = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


class Watched(Argon2Hasher):
    """Notes how many hashes run at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        assert salt is None
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.01)
        with self._lock:
            self._running -= 1
        return "hash"


async def test_a_password_matches_its_hash_and_no_other() -> None:
    passwords = Argon2Passwords(hasher=QUICK)

    hashed = await passwords.hash("correct horse")

    assert hashed.startswith("$argon2id$")
    assert await passwords.verify(hashed, "correct horse")
    assert not await passwords.verify(hashed, "correct house")


async def test_each_hash_has_its_own_salt() -> None:
    passwords = Argon2Passwords(hasher=QUICK)

    assert await passwords.hash("same") != await passwords.hash("same")


@pytest.mark.parametrize("hashed", ["", "x", "$argon2id$", "$2b$12$abc"])
async def test_what_is_no_hash_matches_nothing(hashed: str) -> None:
    assert not await Argon2Passwords(hasher=QUICK).verify(hashed, "password")


async def test_the_usual_cost_is_the_recommended_one() -> None:
    assert "$m=65536,t=3,p=4$" in await Argon2Passwords().hash("password")


async def test_no_more_run_at_once_than_allowed() -> None:
    watched = Watched()
    passwords = Argon2Passwords(concurrency=2, hasher=watched)

    await asyncio.gather(*(passwords.hash("password") for _ in range(8)))

    assert watched.most == 2


async def test_no_more_wait_than_can_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_CHECKS", 2)
    passwords = Argon2Passwords(concurrency=1, hasher=Watched())

    results = await asyncio.gather(*(passwords.hash("p") for _ in range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [str, str, OverloadedError]
