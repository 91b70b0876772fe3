"""Tokens made here, with the secret that the service checks them with."""

from datetime import timedelta

from notification_service.bootstrap import open_tokens
from notification_service.domain.people import Principal, Role
from notification_service.settings import Settings


def mint(settings: Settings, user: str, role: Role) -> str:
    """Return a token for anybody's name that is valid as long as the settings say."""
    lifetime = timedelta(seconds=settings.jwt_ttl_seconds)
    return open_tokens(settings).issue(Principal(user, role), lifetime=lifetime)
