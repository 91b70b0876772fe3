"""The one place where adapters meet the core."""

from notification_service.bootstrap.service import Service, open_service, open_tokens
from notification_service.bootstrap.stores import NotMigratedError, migrate

__all__ = ["NotMigratedError", "Service", "migrate", "open_service", "open_tokens"]
