"""Signing in with a name and a password, and looking after those who may."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from notification_service.application.patience import Patience
from notification_service.domain.errors import InvalidCredentialsError, InvalidInputError, NotFoundError
from notification_service.domain.people import Principal, Role, User
from notification_service.domain.text import single_line
from notification_service.ports import PasswordHasher, SessionStore, UserStore

LONGEST_NAME = 255
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1024


class People:
    """The use cases around those who sign in."""

    def __init__(
        self,
        *,
        users: UserStore,
        sessions: SessionStore,
        hasher: PasswordHasher,
        patience: Patience,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep people in `users` and their passwords as hashes only."""
        self._users = users
        self._sessions = sessions
        self._hasher = hasher
        self._patience = patience
        self._clock = clock
        self._decoy: str | None = None

    async def sign_in(self, username: str, password: str, *, address: str = "") -> Principal:
        """Return who this is; raises `InvalidCredentialsError` without telling what was wrong.

        `address` is where the attempt came from: raises `TooManyAttemptsError` after too many failures of one
        name from there. What can be nobody's name or password is refused without counting it.
        """
        if not _could_be(username, password):
            raise InvalidCredentialsError
        with self._patience.attempt(username, address):
            return await self._identify(username, password)

    async def _identify(self, username: str, password: str) -> Principal:
        """Do the same work for an unknown name, a disabled user and a wrong password.

        So the time it takes tells nothing either.
        """
        decoy = await self._decoy_hash()
        user = await self._users.get(username)
        password_hash = user.password_hash if user else None
        matches = await self._hasher.verify(password_hash or decoy, password)
        if not matches or user is None or password_hash is None or user.disabled:
            raise InvalidCredentialsError
        return Principal(user.id, user.role)

    async def add(self, username: str, password: str | None, role: Role = Role.USER) -> User:
        """Add somebody; without a password nobody can sign in as them. Raises `InvalidInputError`."""
        _require_name(username)
        user = User(
            id=username,
            role=role,
            password_hash=None if password is None else await self._hash(password),
            disabled=False,
            created_at=self._clock(),
        )
        if not await self._users.add(user):
            raise InvalidInputError({"username": "is taken already"})
        return user

    async def set_password(self, username: str, password: str) -> None:
        """Replace the password and end the sessions it began.

        Raises `InvalidInputError` or `NotFoundError`.
        """
        if not await self._users.set_password_hash(username, await self._hash(password)):
            raise NotFoundError
        await self._sessions.remove_all_of(username)

    async def everybody(self) -> Sequence[User]:
        """Return all users by name."""
        return await self._users.everybody()

    async def set_disabled(self, username: str, *, disabled: bool) -> None:
        """Shut somebody out, which ends their sessions, or let them in again; raises `NotFoundError`.

        Tokens that were issued before stay valid until they expire.
        """
        if not await self._users.set_disabled(username, disabled=disabled):
            raise NotFoundError
        if disabled:
            await self._sessions.remove_all_of(username)

    async def _hash(self, password: str) -> str:
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            limits = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD}"
            raise InvalidInputError({"password": f"must have {limits} characters"})
        return await self._hasher.hash(password)

    async def _decoy_hash(self) -> str:
        if self._decoy is None:
            self._decoy = await self._hasher.hash("nobody's password")
        return self._decoy


def _could_be(username: str, password: str) -> bool:
    """Whether the store and the hasher can take these at all."""
    return 0 < len(username) <= LONGEST_NAME and "\x00" not in username and len(password) <= LONGEST_PASSWORD


def _require_name(username: str) -> None:
    if not 0 < len(username) <= LONGEST_NAME or username != username.strip():
        raise InvalidInputError(
            {"username": f"must have 1 to {LONGEST_NAME} characters and no space around it"}
        )
    try:
        single_line(username)
    except ValueError as error:
        raise InvalidInputError({"username": str(error)}) from None
