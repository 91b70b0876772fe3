"""People: who may sign in, and what strangers can find out."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from notification_service.application.patience import MOST_FAILURES, Patience, TooManyAttemptsError
from notification_service.application.people import People
from notification_service.domain.errors import InvalidCredentialsError, InvalidInputError, NotFoundError
from notification_service.domain.people import Principal, Role, User
from notification_service.ports import SessionStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PASSWORD = "correct horse"


class Users:
    """The port over a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, User] = {}

    async def add(self, user: User) -> bool:
        return self.kept.setdefault(user.id, user) is user

    async def get(self, user_id: str) -> User | None:
        return self.kept.get(user_id)

    async def everybody(self) -> Sequence[User]:
        return [self.kept[name] for name in sorted(self.kept)]

    async def set_password_hash(self, user_id: str, password_hash: str) -> bool:
        return self._change(user_id, password_hash=password_hash)

    async def set_disabled(self, user_id: str, *, disabled: bool) -> bool:
        return self._change(user_id, disabled=disabled)

    def _change(self, user_id: str, **changes: object) -> bool:
        if user_id not in self.kept:
            return False
        self.kept[user_id] = replace(self.kept[user_id], **changes)  # type: ignore[arg-type]
        return True


class Sessions:
    """Of the port, what people need; remembers who was signed out."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def remove_all_of(self, subject: str) -> None:
        self.ended.append(subject)


class Hasher:
    """Quick, and counts its work."""

    def __init__(self) -> None:
        self.verified = 0

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def verify(self, password_hash: str, password: str) -> bool:
        await asyncio.sleep(0)  # a real one takes its time, in which others come
        self.verified += password_hash.startswith("hash of ")  # on anything else a real one does no work
        return password_hash == f"hash of {password}"


@pytest.fixture
def hasher() -> Hasher:
    return Hasher()


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def people(sessions: Sessions, hasher: Hasher) -> People:
    return People(
        users=Users(),
        sessions=cast("SessionStore", sessions),
        hasher=hasher,
        patience=Patience(),
        clock=lambda: NOW,
    )


async def test_who_was_added_can_sign_in(people: People) -> None:
    user = await people.add("ann", PASSWORD, Role.ADMIN)

    assert await people.sign_in("ann", PASSWORD) == Principal("ann", Role.ADMIN)
    assert (user.created_at, user.disabled) == (NOW, False)


async def test_the_password_is_kept_as_a_hash_alone(people: People) -> None:
    assert (await people.add("ann", PASSWORD)).password_hash == f"hash of {PASSWORD}"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("bob", PASSWORD),
        ("off", PASSWORD),
        ("bare", PASSWORD),
        ("bare", "nobody's password"),
    ],
)
async def test_nobody_else_can_and_all_cost_the_same(
    people: People, hasher: Hasher, name: str, password: str
) -> None:
    """A wrong password, an unknown name, a disabled user, one without a password."""
    await people.add("ann", PASSWORD)
    await people.add("off", PASSWORD)
    await people.set_disabled("off", disabled=True)
    await people.add("bare", None)

    with pytest.raises(InvalidCredentialsError):
        await people.sign_in(name, password)

    assert hasher.verified == 1


@pytest.mark.parametrize(
    ("name", "password"), [("", "x"), ("n" * 256, "x"), ("a\x00", "x"), ("ann", "p" * 1025)]
)
async def test_what_can_be_nobodys_is_refused_without_work(
    people: People, hasher: Hasher, name: str, password: str
) -> None:
    with pytest.raises(InvalidCredentialsError):
        await people.sign_in(name, password)

    assert hasher.verified == 0


async def test_guesses_in_parallel_get_no_more_tries_than_one_after_the_other(
    people: People, hasher: Hasher
) -> None:
    guesses = [people.sign_in("ann", "wrong", address="192.0.2.1") for _ in range(5 * MOST_FAILURES)]
    endings = await asyncio.gather(*guesses, return_exceptions=True)

    assert [type(ending) for ending in endings].count(TooManyAttemptsError) == 4 * MOST_FAILURES
    assert hasher.verified == MOST_FAILURES


async def test_what_can_be_nobodys_name_does_not_count(people: People) -> None:
    for _ in range(2 * MOST_FAILURES):
        with pytest.raises(InvalidCredentialsError):
            await people.sign_in("n" * 256, "x")


async def test_who_was_let_in_again_can_sign_in(people: People) -> None:
    await people.add("ann", PASSWORD)
    await people.set_disabled("ann", disabled=True)

    await people.set_disabled("ann", disabled=False)

    assert await people.sign_in("ann", PASSWORD)


async def test_a_new_password_replaces_the_old_one(people: People) -> None:
    await people.add("ann", PASSWORD)

    await people.set_password("ann", "another horse")

    assert await people.sign_in("ann", "another horse")
    with pytest.raises(InvalidCredentialsError):
        await people.sign_in("ann", PASSWORD)


async def test_who_is_shut_out_is_signed_out(people: People, sessions: Sessions) -> None:
    await people.add("ann", PASSWORD)

    await people.set_disabled("ann", disabled=True)

    assert sessions.ended == ["ann"]


async def test_a_new_password_ends_the_sessions_of_the_old_one(people: People, sessions: Sessions) -> None:
    await people.add("ann", PASSWORD)

    await people.set_password("ann", "another horse")

    assert sessions.ended == ["ann"]


async def test_letting_somebody_in_again_ends_no_session(people: People, sessions: Sessions) -> None:
    await people.add("ann", PASSWORD)

    await people.set_disabled("ann", disabled=False)

    assert sessions.ended == []


async def test_a_name_is_given_once(people: People) -> None:
    await people.add("ann", PASSWORD)

    with pytest.raises(InvalidInputError) as refused:
        await people.add("ann", "another horse")

    assert refused.value.problems == {"username": "is taken already"}
    assert await people.sign_in("ann", PASSWORD)


@pytest.mark.parametrize("name", ["", " ann", "ann ", "n" * 256, "a\nb", "a\x00"])
async def test_a_name_that_cannot_be_shown_is_refused(people: People, name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        await people.add(name, PASSWORD)

    assert list(refused.value.problems) == ["username"]


@pytest.mark.parametrize("password", ["", "seven77", "p" * 1025])
async def test_a_password_too_short_or_too_long_is_refused(people: People, password: str) -> None:
    await people.add("ann", PASSWORD)

    with pytest.raises(InvalidInputError):
        await people.add("bob", password)
    with pytest.raises(InvalidInputError):
        await people.set_password("ann", password)


async def test_nobody_unknown_can_be_changed(people: People) -> None:
    with pytest.raises(NotFoundError):
        await people.set_password("bob", PASSWORD)
    with pytest.raises(NotFoundError):
        await people.set_disabled("bob", disabled=True)


async def test_everybody_is_listed_by_name(people: People) -> None:
    await people.add("bob", PASSWORD)
    await people.add("ann", PASSWORD)

    assert [user.id for user in await people.everybody()] == ["ann", "bob"]
