"""The one place where adapters meet the core."""

from notification_service.bootstrap.service import (
    NotMigratedError,
    Service,
    migrate,
    open_service,
    open_tokens,
)

__all__ = ["NotMigratedError", "Service", "migrate", "open_service", "open_tokens"]
