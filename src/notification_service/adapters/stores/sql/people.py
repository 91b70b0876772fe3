"""Users, their browser sessions and the one-time links that begin them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Delete, delete, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.tables import sessions, users
from notification_service.domain.people import Principal, Role, Session, User


class SqlUsers:
    """`UserStore` on both databases."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    async def add(self, user: User) -> bool:
        """See `UserStore.add`."""
        row = {
            "id": user.id,
            "role": user.role.value,
            "password_hash": user.password_hash,
            "disabled": user.disabled,
            "created_at": user.created_at,
        }
        try:
            async with self._database.transaction() as connection:
                await connection.execute(insert(users).values(row))
        except IntegrityError:
            return False
        return True

    async def get(self, user_id: str) -> User | None:
        """See `UserStore.get`."""
        async with self._database.statement() as connection:
            row = (
                (await connection.execute(select(users).where(users.c.id == user_id)))
                .mappings()
                .one_or_none()
            )
        return _user_of(row) if row else None

    async def everybody(self) -> Sequence[User]:
        """See `UserStore.everybody`."""
        async with self._database.statement() as connection:
            rows = (await connection.execute(select(users).order_by(users.c.id))).mappings().all()
        return [_user_of(row) for row in rows]

    async def set_password_hash(self, user_id: str, password_hash: str) -> bool:
        """See `UserStore.set_password_hash`."""
        return await self._update(user_id, password_hash=password_hash)

    async def set_disabled(self, user_id: str, *, disabled: bool) -> bool:
        """See `UserStore.set_disabled`."""
        return await self._update(user_id, disabled=disabled)

    async def _update(self, user_id: str, **values: Any) -> bool:
        async with self._database.transaction() as connection:
            done = await connection.execute(update(users).where(users.c.id == user_id).values(values))
        return done.rowcount > 0


def _user_of(row: RowMapping) -> User:
    return User(
        id=row["id"],
        role=Role(row["role"]),
        password_hash=row["password_hash"],
        disabled=row["disabled"],
        created_at=row["created_at"],
    )


class SqlSessions:
    """`SessionStore` on both databases; what is too old is deleted whenever something new is kept."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    async def add_link(self, link_hash: bytes, principal: Principal, *, lifetime: timedelta) -> None:
        """See `SessionStore.add_link`."""
        await self._keep("link", link_hash, Session(principal=principal, csrf_token=""), lifetime)

    async def redeem_link(self, link_hash: bytes) -> Principal | None:
        """See `SessionStore.redeem_link`: deleting is what makes it work once."""
        async with self._database.transaction() as connection:
            redeemed = self._valid("link", link_hash, delete(sessions)).returning(sessions)
            row = (await connection.execute(redeemed)).mappings().one_or_none()
        return _session_of(row).principal if row else None

    async def add(self, session_hash: bytes, session: Session, *, lifetime: timedelta) -> None:
        """See `SessionStore.add`."""
        await self._keep("session", session_hash, session, lifetime)

    async def get(self, session_hash: bytes) -> Session | None:
        """See `SessionStore.get`."""
        query = self._valid("session", session_hash, select(sessions))
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return _session_of(row) if row else None

    async def remove(self, session_hash: bytes) -> None:
        """See `SessionStore.remove`."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(sessions).where(sessions.c.hash == session_hash))

    async def remove_all_of(self, subject: str) -> None:
        """See `SessionStore.remove_all_of`."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(sessions).where(sessions.c.subject == subject))

    async def _keep(self, kind: str, secret_hash: bytes, session: Session, lifetime: timedelta) -> None:
        now = self._database.now()
        row = {
            "hash": secret_hash,
            "kind": kind,
            "subject": session.principal.subject,
            "role": session.principal.role.value,
            "csrf_token": session.csrf_token,
            "expires_at": now + lifetime,
        }
        async with self._database.transaction() as connection:
            await connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            await connection.execute(insert(sessions).values(row))

    def _valid[Query: (Delete, Any)](self, kind: str, secret_hash: bytes, query: Query) -> Query:
        columns = sessions.c
        return query.where(
            columns.hash == secret_hash, columns.kind == kind, columns.expires_at > self._database.sql_now()
        )


def _session_of(row: RowMapping) -> Session:
    return Session(principal=Principal(row["subject"], Role(row["role"])), csrf_token=row["csrf_token"])
