"""Who acts: people and programs, and what each may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from notification_service.domain.errors import (
    CannotSendForOthersError,
    ForbiddenError,
    NotYourNotificationError,
)


class Role(StrEnum):
    """What somebody is trusted with."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller."""

    subject: str
    role: Role = Role.USER

    @property
    def is_admin(self) -> bool:
        """Whether the caller acts for everybody."""
        return self.role is Role.ADMIN

    def may_act_for(self, user_id: str) -> bool:
        """A user acts for itself, an administrator for anyone."""
        return self.is_admin or self.subject == user_id

    def require_send_for(self, user_id: str) -> None:
        """Raise `CannotSendForOthersError` unless the caller may send in this user's name."""
        if not self.may_act_for(user_id):
            raise CannotSendForOthersError

    def require_owner(self, user_id: str) -> None:
        """Raise `NotYourNotificationError` unless the notification is the caller's to see."""
        if not self.may_act_for(user_id):
            raise NotYourNotificationError

    def require_admin(self) -> None:
        """Raise `ForbiddenError` unless the caller is an administrator."""
        if not self.is_admin:
            raise ForbiddenError


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may sign in; `id` is the name they sign in with and the `sub` of their tokens."""

    id: str
    role: Role
    password_hash: str | None
    disabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who signed in with a browser."""

    principal: Principal
    csrf_token: str
