"""Everything that can go wrong by rule, one class for each situation, none of which knows HTTP."""

from datetime import timedelta
from typing import ClassVar


class NotificationServiceError(Exception):
    """Something went wrong in the notification service."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str | None = None) -> None:
        """Take the class's docstring as the message unless the situation has more to say."""
        super().__init__(detail or type(self).__doc__ or self.code)


class InvalidInputError(NotificationServiceError):
    """The input does not have the required form."""

    code = "validation_error"

    def __init__(self, problems: dict[str, str], detail: str | None = None) -> None:
        """`problems` maps a dotted path in the input to what is wrong there."""
        super().__init__(detail)
        self.problems = problems


class NotFoundError(NotificationServiceError):
    """not found"""

    code = "not_found"


class NotAuthenticatedError(NotificationServiceError):
    """invalid or expired token"""

    code = "unauthorized"


class InvalidCredentialsError(NotificationServiceError):
    """wrong username or password"""

    code = "invalid_credentials"


class ForbiddenError(NotificationServiceError):
    """only an administrator may do this"""

    code = "forbidden"


class NotYourNotificationError(ForbiddenError):
    """not your notification"""


class CannotSendForOthersError(ForbiddenError):
    """cannot send notifications for other users"""


class InvalidStateError(NotificationServiceError):
    """the state it is in does not allow this"""

    code = "invalid_state"


class IdempotencyKeyReusedError(NotificationServiceError):
    """this Idempotency-Key was used for another request; use a new key for a new request"""

    code = "idempotency_key_reused"


class RequestInProgressError(NotificationServiceError):
    """the first request with this Idempotency-Key is still running; try again shortly"""

    code = "request_in_progress"
    retry_after = timedelta(seconds=1)


class ChannelNotConfiguredError(NotificationServiceError):
    """no provider is configured for this channel"""

    code = "channel_not_configured"


class UnavailableError(NotificationServiceError):
    """a part the service needs is out of reach; try again shortly"""

    code = "unavailable"
    retry_after = timedelta(seconds=1)


class OverloadedError(UnavailableError):
    """too many requests are waiting already; try again shortly"""

    code = "overloaded"


class StoreUnavailableError(UnavailableError):
    """the database is out of reach; try again shortly"""

    code = "store_unavailable"


class StoreRefusesError(StoreUnavailableError):
    """the database refuses this user, password or database name; correct NS_DATABASE_URL"""


class LimiterUnavailableError(UnavailableError):
    """the rate limiter is out of reach; try again shortly"""

    code = "rate_limiter_unavailable"


class BrokerUnavailableError(UnavailableError):
    """the broker is out of reach; what was accepted waits in the database"""

    code = "broker_unavailable"


class DeliveryError(NotificationServiceError):
    """a provider did not take the message"""

    def __init__(
        self,
        detail: str,
        *,
        provider: str,
        error_code: str,
        retry_after: timedelta | None = None,
    ) -> None:
        """`error_code` is short and countable (`http_503`); `detail` holds no address and no body."""
        super().__init__(detail)
        self.detail = detail
        self.provider = provider
        self.error_code = error_code
        self.retry_after = retry_after


class TransientDeliveryError(DeliveryError):
    """the provider could not take the message now; a later attempt may succeed"""


class PermanentDeliveryError(DeliveryError):
    """the provider will never take this message"""


class AmbiguousDeliveryError(DeliveryError):
    """nobody knows whether the provider took the message"""
