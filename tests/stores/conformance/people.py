"""`UserStore` and `SessionStore`: who may sign in, and who has."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from notification_service.domain.people import Principal, Role, Session, User
from tests.stores.house import AN_HOUR, House

ANN = Principal("ann", Role.ADMIN)
SESSION = Session(principal=ANN, csrf_token="c" * 43)


def a_user(house: House, name: str = "ann", *, role: Role = Role.USER, disabled: bool = False) -> User:
    return User(
        id=name, role=role, password_hash="$argon2id$…", disabled=disabled, created_at=house.store.now()
    )


class UserConformance:
    """The sentences of `UserStore`."""

    @pytest.mark.parametrize("role", Role)
    async def test_a_new_user_is_stored_as_it_is(self, house: House, role: Role) -> None:
        user = replace(a_user(house, "ann"), role=role)

        added = await house.users.add(user)

        assert added
        assert await house.users.get("ann") == user

    async def test_a_user_may_have_no_password(self, house: House) -> None:
        user = replace(a_user(house), password_hash=None)

        await house.users.add(user)

        assert await house.users.get("ann") == user

    async def test_a_taken_name_is_refused_and_its_user_kept(self, house: House) -> None:
        first = a_user(house)
        await house.users.add(first)

        added = await house.users.add(replace(first, role=Role.ADMIN, password_hash="another"))

        assert not added
        assert await house.users.get("ann") == first

    async def test_a_name_wanted_by_many_at_once_is_given_to_one(self, house: House) -> None:
        other = await house.another()

        added = await asyncio.gather(*((house, other)[at % 2].users.add(a_user(house)) for at in range(6)))

        assert added.count(True) == 1

    async def test_names_are_told_apart_by_every_character(self, house: House) -> None:
        names = ["ann", "Ann", "ann ", "änn"]

        added = [await house.users.add(a_user(house, name)) for name in names]

        assert added == [True] * 4
        assert await house.users.get("ANN") is None

    async def test_everybody_is_listed_by_name(self, house: House) -> None:
        for name in ("cy", "ann", "bob"):
            await house.users.add(a_user(house, name))

        everybody = await house.users.everybody()

        assert [user.id for user in everybody] == ["ann", "bob", "cy"]

    async def test_a_password_is_replaced_for_that_user_alone(self, house: House) -> None:
        for name in ("ann", "bob"):
            await house.users.add(a_user(house, name))

        done = await house.users.set_password_hash("ann", "new")

        assert done
        assert [user.password_hash for user in await house.users.everybody()] == ["new", "$argon2id$…"]

    async def test_a_user_is_shut_out_and_let_in_again(self, house: House) -> None:
        await house.users.add(a_user(house))
        states = []
        for disabled in (True, False):
            assert await house.users.set_disabled("ann", disabled=disabled)

            user = await house.users.get("ann")
            assert user is not None
            states.append(user.disabled)

        assert states == [True, False]

    async def test_nobody_unknown_can_be_changed(self, house: House) -> None:
        results = [
            await house.users.set_password_hash("nobody", "new"),
            await house.users.set_disabled("nobody", disabled=True),
        ]

        assert results == [False, False]
        assert await house.users.get("nobody") is None


class SessionConformance:
    """The sentences of `SessionStore`."""

    async def test_a_session_is_kept(self, house: House) -> None:
        await house.sessions.add(b"hash", SESSION, lifetime=AN_HOUR)

        assert await house.sessions.get(b"hash") == SESSION
        assert await house.sessions.get(b"other") is None

    async def test_a_session_past_its_time_is_gone(self, house: House) -> None:
        await house.sessions.add(b"hash", SESSION, lifetime=timedelta(milliseconds=30))
        await asyncio.sleep(0.05)

        assert await house.sessions.get(b"hash") is None

    async def test_a_removed_session_is_gone_and_no_other(self, house: House) -> None:
        for name in (b"one", b"two"):
            await house.sessions.add(name, SESSION, lifetime=AN_HOUR)

        await house.sessions.remove(b"one")
        await house.sessions.remove(b"unknown")

        assert await house.sessions.get(b"one") is None
        assert await house.sessions.get(b"two") == SESSION

    async def test_somebody_can_be_signed_out_everywhere_and_nobody_else_is(self, house: House) -> None:
        """Links that were not followed yet included."""
        bobs = Session(principal=Principal("bob"), csrf_token="c" * 43)
        for name in (b"one", b"two"):
            await house.sessions.add(name, SESSION, lifetime=AN_HOUR)
        await house.sessions.add_link(b"link", ANN, lifetime=AN_HOUR)
        await house.sessions.add(b"bob", bobs, lifetime=AN_HOUR)

        await house.sessions.remove_all_of("ann")

        assert [await house.sessions.get(name) for name in (b"one", b"two")] == [None, None]
        assert await house.sessions.redeem_link(b"link") is None
        assert await house.sessions.get(b"bob") == bobs

    async def test_a_link_signs_its_principal_in_once(self, house: House) -> None:
        await house.sessions.add_link(b"link", ANN, lifetime=AN_HOUR)

        redeemed = [await house.sessions.redeem_link(b"link") for _ in range(2)]

        assert redeemed == [ANN, None]

    async def test_a_link_used_by_many_at_once_signs_one_in(self, house: House) -> None:
        other = await house.another()
        await house.sessions.add_link(b"link", ANN, lifetime=AN_HOUR)

        redeemed = await asyncio.gather(
            *((house, other)[at % 2].sessions.redeem_link(b"link") for at in range(8))
        )

        assert redeemed.count(None) == 7

    async def test_a_link_unknown_or_past_its_time_signs_nobody_in(self, house: House) -> None:
        await house.sessions.add_link(b"link", ANN, lifetime=AN_HOUR)
        await house.let_sessions_expire()

        redeemed = [await house.sessions.redeem_link(name) for name in (b"link", b"unknown")]

        assert redeemed == [None, None]

    async def test_a_link_is_no_session_and_a_session_no_link(self, house: House) -> None:
        await house.sessions.add_link(b"link", ANN, lifetime=AN_HOUR)
        await house.sessions.add(b"session", SESSION, lifetime=AN_HOUR)

        found = await house.sessions.get(b"link"), await house.sessions.redeem_link(b"session")

        assert found == (None, None)
        assert await house.sessions.get(b"session") == SESSION
        assert await house.sessions.redeem_link(b"link") == ANN
